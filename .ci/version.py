"""See that one version is said everywhere: `python .ci/version.py [TAG]`, where TAG is v and that version."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Where else it is said, as a pattern with the version in parentheses.
PLACES = {
    "tissuumaps_sic/plugin/SIC.yml": r"^version: (\S+)$",
    "CITATION.cff": r"^version: (\S+)$",
    "CHANGELOG.md": r"^## (\d+\.\d+\.\d+)",
}


def version() -> str:
    """Return the version of pyproject.toml."""
    known: str = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    return known


def told_elsewhere() -> dict[str, str]:
    """Return the version that each other place says first, "" where it says none."""
    told = {}
    for place, pattern in PLACES.items():
        match = re.search(pattern, (ROOT / place).read_text(encoding="utf-8"), re.MULTILINE)
        told[place] = match[1] if match else ""
    return told


def main() -> None:
    """Compare."""
    known = version()
    wrong = [f"{place} says {told or 'none'}" for place, told in told_elsewhere().items() if told != known]
    if sys.argv[1:] and sys.argv[1] != f"v{known}":
        wrong.append(f"the tag is {sys.argv[1]}")
    if re.search(r"^## [^\n]*unreleased", _newest(), re.MULTILINE) and sys.argv[1:]:
        wrong.append("CHANGELOG.md says that it is unreleased")
    if wrong:
        raise SystemExit(f"pyproject.toml says {known}, and {'; '.join(wrong)}")
    print(known)


def _newest() -> str:
    """Return the newest heading of the changelog."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    return next(line for line in text.splitlines() if line.startswith("## "))


if __name__ == "__main__":
    main()
