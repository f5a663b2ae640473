"""What becomes of runs while other programs change the slide's file; run by `test_changing_files`.

In a process of its own: where embeddings were mapped into memory, each of these changes would kill it.
"""

import json
import os
import shutil
import sys
from pathlib import Path

import anndata

from tissuumaps_sic.cli import main
from tissuumaps_sic.labelling import prepared
from tissuumaps_sic.slidefile.errors import SicError
from tissuumaps_sic.viewer.access import reach_of
from tissuumaps_sic.viewer.endpoints import Server

SEEDS = {0: 0, 13: 0, 11: 1, 22: 1}


def ask(server: Server, endpoint: str, folder: Path, content: dict) -> object:
    """Ask a server of this process, as somebody who has given the password."""
    return server.ask(endpoint, reach_of(folder, content), content)


def write_anew(h5ad: Path) -> None:
    """Write other embeddings into the file that is there, as anndata does."""
    adata = anndata.read_h5ad(h5ad)[:50].copy()
    adata.X = 1 - adata.X
    adata.write_h5ad(h5ad)


def copy_over(h5ad: Path) -> None:
    """Copy another file over it, as cp does."""
    shutil.copyfile(h5ad.parent / "larger" / h5ad.name, h5ad)


def turn_bytes(h5ad: Path) -> None:
    """Write as many other bytes, and put the file's time back."""
    stat = h5ad.stat()
    h5ad.write_bytes(h5ad.read_bytes()[::-1])
    os.utime(h5ad, ns=(stat.st_atime_ns, stat.st_mtime_ns))


CHANGES = {
    "written anew": write_anew,
    "copied over": copy_over,
    "turned": turn_bytes,
    "cut": lambda h5ad: os.truncate(h5ad, h5ad.stat().st_size // 2),
    "emptied": lambda h5ad: os.truncate(h5ad, 0),
    "removed": Path.unlink,
}


def try_all(whole: Path) -> dict[str, dict[str, str]]:
    """Change the file in each way, amid a run, a suggestion and a command; return what is told of it."""
    h5ad = whole.with_name("small.h5ad")
    rows = prepared.Rows
    pending = []

    def changing(*given, **more):
        if pending:
            pending.pop()(h5ad)
        return rows(*given, **more)

    prepared.Rows = changing
    table = whole.with_name("seeds.csv")
    names = anndata.read_h5ad(whole).obs_names
    table.write_text(
        "patch,class\n" + "".join(f"{names[row]},{'AB'[label]}\n" for row, label in SEEDS.items())
    )
    told = {}
    server = Server()
    for name, change in CHANGES.items():
        told[name] = {}
        for endpoint in ("run", "suggest"):
            shutil.copyfile(whole, h5ad)
            about = {"h5ad": h5ad.name}
            revision = ask(server, "open", h5ad.parent, about)["revision"]
            if not revision:
                for row, label in SEEDS.items():
                    seed = {"kind": "seed", "label": label, "patches": [row]}
                    state = ask(
                        server, "change", h5ad.parent, {**about, "revision": revision, "change": seed}
                    )
                    revision = state["revision"]
            pending.append(change)
            try:
                ask(server, endpoint, h5ad.parent, {**about, "revision": revision})
                told[name][endpoint] = "answered"
            except SicError as error:
                told[name][endpoint] = f"{error.status}: {error}"
            assert not pending
        shutil.copyfile(whole, h5ad)
        pending.append(change)
        target = whole.with_name("labels.csv")
        code = main(["run", str(h5ad), "--seeds", str(table), "--positive", "B", "-o", str(target)])
        told[name]["command"] = f"{code}, {'written' if target.exists() else 'nothing written'}"
        target.unlink(missing_ok=True)
    shutil.copyfile(whole, h5ad)
    state, labels = ask(server, "run", h5ad.parent, {"h5ad": h5ad.name, "revision": revision})
    told["whole"] = {"run": f"{len(labels)} labels"}
    return told


if __name__ == "__main__":
    print(json.dumps(try_all(Path(sys.argv[1]))))
