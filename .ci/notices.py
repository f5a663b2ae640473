"""Write THIRD_PARTY_NOTICES.md from what is installed: `.venv/bin/python .ci/notices.py`.

Named is what the product asks for, and what that asks for in turn; not what only its developers use. The list
is of the machine that it was made on: elsewhere versions, and some names, are others.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "THIRD_PARTY_NOTICES.md"
# Extras that are of no use to who uses the product.
DEVELOPERS = ("dev", "docs")
HEAD = """# Third-party notices

tissuumaps-sic is under the MIT licence (LICENSE). Its wheel holds no code of others, and pip installs what
it needs from each project's own releases, under that project's licence. This lists what came with it, extras
included, on one Linux machine; `.ci/notices.py` wrote it from the installed packages' metadata. Licences are
as these packages tell them, and their own licence files hold.

Binary packages bring further libraries, whose licences lie in them: openslide-bin (OpenSlide, LGPL 2.1, and
what it is built with), pyvips-binary (libvips, LGPL, and what it is built with), torch, numpy and scipy
(OpenBLAS, BSD), shapely (GEOS, LGPL 2.1), h5py (HDF5, BSD-like). On Linux torch brings CUDA, under NVIDIA's
own terms. TissUUmaps brings OpenSeadragon and other JavaScript in its pages.

Weights of encoders have licences of their own, which often forbid commercial use: `embedder encoders` names
each. The weights of EfficientNet-Lite0 come as a package, and are in the list.
"""
# Of classifiers nothing but the last part tells; these say too little there.
_SHORT = {"BSD License": "BSD", "MIT License": "MIT", "Apache Software License": "Apache-2.0"}
_LONGEST = 60
# What only another Python than this asks for: licence and home, as its own metadata tells them.
_ELSEWHERE = {
    "standard-imghdr": ("PSF-2.0", "https://github.com/youknowone/python-deadlib"),
}


def normalize(name: str) -> str:
    """Return a name as package indices compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def direct() -> dict[str, list[str]]:
    """Return what pyproject.toml asks for, and for which extras, "" the base."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = {"": project["dependencies"], **project["optional-dependencies"]}
    asked: dict[str, list[str]] = {}
    for extra, requirements in groups.items():
        if extra not in DEVELOPERS:
            for each in requirements:
                asked.setdefault(normalize(Requirement(each).name), []).append(extra)
    return asked


def every() -> dict[str, Distribution]:
    """Return all that is installed for them, by name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [each for name, each in project["optional-dependencies"].items() if name not in DEVELOPERS]
    waiting = [Requirement(each) for group in (project["dependencies"], *extras) for each in group]
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    while waiting:
        requirement = waiting.pop()
        name = normalize(requirement.name)
        for extra in ("", *sorted(requirement.extras)):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            try:
                found[name] = distribution(name)
            except PackageNotFoundError:
                # Of another system or Python, or not asked for on this one.
                continue
            waiting += _asked_by(found[name], extra)
    return dict(sorted(found.items()))


def _asked_by(package: Distribution, extra: str) -> Iterable[Requirement]:
    for text in package.requires or []:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            yield requirement


def licence_of(package: Distribution) -> str:
    """Return the licence that a package tells, in a few words."""
    told = package.metadata
    expression, free = told.get("License-Expression"), (told.get("License") or "").strip()
    classified = [
        each.rpartition(" :: ")[2]
        for each in told.get_all("Classifier") or []
        if each.startswith("License ::") and each.count(" :: ") > 1
    ]
    if expression:
        return str(expression)
    if free and len(free) <= _LONGEST and "\n" not in free and free.upper() != "UNKNOWN":
        return free
    if classified:
        return ", ".join(_SHORT.get(each, each) for each in classified)
    return _first_line(package) or "see its own files"


def _first_line(package: Distribution) -> str:
    """Return what the licence file of a package begins with, where that is a title."""
    for file in package.files or []:
        if file.name.upper().startswith(("LICENSE", "LICENCE")):
            text = Path(str(file.locate())).read_text(encoding="utf-8", errors="replace")
            title = text.strip().partition("\n")[0].strip()
            return title if "licen" in title.lower() and len(title) <= _LONGEST else ""
    return ""


def home_of(package: Distribution) -> str:
    """Return where a package has its home, "" where it does not say."""
    told = package.metadata
    links = dict(each.split(", ", 1) for each in told.get_all("Project-URL") or [] if ", " in each)
    chosen = {key.lower().replace("-", "").replace(" ", ""): value for key, value in links.items()}
    for key in ("homepage", "home", "repository", "source", "sourcecode", "github", "documentation"):
        if key in chosen:
            return chosen[key].strip()
    home = (told.get("Home-page") or "").strip()
    return home if home.startswith("http") else next(iter(links.values()), "").strip()


def make_text() -> str:
    """Return what the file is to hold."""
    rows = [(name, each.version, licence_of(each), home_of(each)) for name, each in every().items()]
    rows += [(name, "", *told) for name, told in _ELSEWHERE.items() if name not in {row[0] for row in rows}]
    lines = [HEAD, "| package | version | licence | asked for by |", "| --- | --- | --- | --- |"]
    asked = direct()
    for name, version, licence, home in sorted(rows):
        told = f"[{name}]({home})" if home else name
        groups = ", ".join(extra or "the base" for extra in asked.get(name, []))
        lines.append(f"| {told} | {version} | {licence} | {groups} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the file."""
    missing = sorted(direct().keys() - every().keys() - _ELSEWHERE.keys())
    if missing:
        raise SystemExit(f"not installed here, so that nothing is known of it: {', '.join(missing)}")
    FILE.write_text(make_text(), encoding="utf-8")
    print(FILE)


if __name__ == "__main__":
    main()
