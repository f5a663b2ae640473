"""Build wheel and sdist, install each into a clean environment, and see that the wheel's demo serves a page.

    python .ci/wheel.py [FOLDER]     what is built goes into FOLDER, dist by default

It takes the Python that it runs with, needs `build` and a package index, and works on Linux, macOS and
Windows. It takes some minutes, nearly all of them the installation of torch; so GitHub runs it, and .ci/run
does not.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NAME = "tissuumaps_sic"
# Seconds: a laptop embeds the demo in one to three minutes, a machine that others use as well may take many.
PATIENCE = 1800


def main() -> None:
    """Build, install, serve, ask."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "dist").resolve()
    run(sys.executable, "-m", "build", "--outdir", folder, ROOT)
    (wheel,), (sdist,) = folder.glob(f"{NAME}-*.whl"), folder.glob(f"{NAME}-*.tar.gz")
    with tempfile.TemporaryDirectory(prefix="tissuumaps-sic-wheel-", ignore_cleanup_errors=True) as made:
        programs = make_environment(Path(made, "sdist"))
        # Without its dependencies: that they can be had is shown with the wheel.
        run(programs / "python", "-m", "pip", "install", "--quiet", "--no-deps", sdist)
        run(programs / "python", "-c", f"import {NAME}, embedder; print({NAME}.__version__)", cwd=made)
        programs = make_environment(Path(made, "wheel"))
        run(programs / "python", "-m", "pip", "install", "--quiet", f"{wheel}[embed]")
        run(programs / "python", "-m", "pip", "check")
        for program in ("tissuumaps-sic", "embedder"):
            run(programs / program, "--version", cwd=made)
        ask_demo(programs / "tissuumaps-sic", Path(made))
    print(f"{wheel.name} and {sdist.name} are well", flush=True)


def make_environment(folder: Path) -> Path:
    """Make an environment, and return the folder of its programs."""
    print(f"an environment in {folder}", flush=True)
    venv.create(folder, with_pip=True)
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    run(programs / "python", "-m", "pip", "install", "--quiet", "--upgrade", "pip")
    return programs


def ask_demo(program: Path, folder: Path) -> None:
    """Make and serve the demo, ask for its page, and for what the page starts with, then end it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(program), "demo", "-o", "demo", "--port", str(port), "--no-browser"]
    print(*command, flush=True)
    with subprocess.Popen(command, cwd=folder) as server:
        try:
            page = wait_for(server, f"http://127.0.0.1:{port}/demo.tmap")
            if b"plugins" not in page or b"SIC" not in page:
                raise SystemExit(f"the demo's page does not name the plugin:\n{page[:2000]!r}")
            script = wait_for(server, f"http://127.0.0.1:{port}/plugins/SIC.js")
            print(f"the demo's page has {len(page)} bytes, the plugin's script {len(script)}", flush=True)
        finally:
            server.terminate()
            server.wait(60)
    left = [path.name for path in (folder / "demo").iterdir() if path.name.startswith("demo.")]
    if not {"demo.tif", "demo.h5ad", "demo.tmap"} <= set(left):
        raise SystemExit(f"the demo made only {left}")


def wait_for(server: subprocess.Popen[bytes], address: str) -> bytes:
    """Return what an address answers, once the server is there."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if server.poll() is not None:
            raise SystemExit(f"the demo ended by itself with {server.returncode}")
        try:
            with urllib.request.urlopen(address, timeout=60) as answer:
                content: bytes = answer.read()
                return content
        except urllib.error.HTTPError as error:
            raise SystemExit(f"{address} answered {error.code}: {error.read()[:500]!r}") from error
        except OSError:
            time.sleep(0.5)
    raise SystemExit(f"{address} did not answer within {PATIENCE} seconds")


def run(*command: object, cwd: str | Path | None = None) -> None:
    """Run a command, which must go well."""
    words = [str(each) for each in command]
    print(*words, flush=True)
    # Nothing of this checkout, which would stand for what was installed.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    subprocess.run(words, check=True, cwd=cwd, env=environment)


if __name__ == "__main__":
    main()
