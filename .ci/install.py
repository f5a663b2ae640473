"""Install what pip would, from where pip is told to look, by uv, in half the time; by pip where uv cannot."""

import ast
import os
import subprocess
import sys

PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
# uv's variable for each of pip's settings, and what stands between several values.
SETTINGS = {
    "index-url": ("UV_DEFAULT_INDEX", " "),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "constraint": ("UV_CONSTRAINT", " "),
    "cert": ("SSL_CERT_FILE", " "),
    "default-timeout": ("UV_HTTP_TIMEOUT", " "),
}


def translate_settings() -> dict[str, str]:
    """Return pip's settings as variables of uv; those of the environment are listed last, and overrule."""
    told = subprocess.run([*PIP, "config", "list"], check=True, capture_output=True, text=True).stdout
    found = {}
    for line in told.splitlines():
        key, _, value = line.partition("=")
        name = key.rpartition(".")[2]
        if name in SETTINGS:
            variable, between = SETTINGS[name]
            found[variable] = between.join(ast.literal_eval(value).split())
    # To pip every index is as good as the others.
    return found | {"UV_INDEX_STRATEGY": "unsafe-best-match"}


def main(arguments: list[str]) -> None:
    """Install; what neither can do is told by pip."""
    try:
        subprocess.run([*PIP, "install", "--quiet", "uv"], check=True)
        uv = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", sys.executable]
        subprocess.run([*uv, *arguments], check=True, env=os.environ | translate_settings())
    except subprocess.CalledProcessError:
        # Of twenty thousand modules the tests import a part.
        subprocess.run([*PIP, "install", "--quiet", "--no-compile", *arguments], check=True)


main(sys.argv[1:])
