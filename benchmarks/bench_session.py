"""What a click costs the server in a session with a long history: large lassos, as 0.1 wrote them.

Each lasso is of half of the slide's patches at random, which is the most that there is to pack. The slide is
made up; nothing is run. Told are the seconds within `Server.ask`, and of the answer as JSON.

    .venv/bin/python benchmarks/bench_session.py [--patches 500000] [--lassos 8] [--clicks 5]
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd

from tissuumaps_sic.annotation.session import Session
from tissuumaps_sic.annotation.store import session_path
from tissuumaps_sic.slides.slide import EmbeddedSlide, open_slide_file
from tissuumaps_sic.viewer.access import reach_of
from tissuumaps_sic.viewer.answers import as_json
from tissuumaps_sic.viewer.endpoints import Server

N_FEATURES = 16


def make(folder: Path, n_patches: int) -> EmbeddedSlide:
    """Write an h5ad of patches on a grid."""
    rng = np.random.default_rng(0)
    columns = int(np.ceil(np.sqrt(n_patches)))
    x, y = np.arange(n_patches) % columns * 256, np.arange(n_patches) // columns * 256
    names = pd.Index([f"made_{a}_{b}" for a, b in zip(x, y, strict=True)], dtype=object)
    X = rng.normal(size=(n_patches, N_FEATURES)).astype(np.float32)
    centres = np.column_stack([x, y]) + 128.0
    path = folder / "made.h5ad"
    anndata.AnnData(X, obs=pd.DataFrame(index=names), obsm={"spatial": centres}).write_h5ad(path)
    return open_slide_file(path)


def write_history(slide: EmbeddedSlide, n_lassos: int) -> None:
    """Write a session of lassos in the form of 0.1."""
    rng = np.random.default_rng(1)
    session = Session.new(slide)
    for number in range(n_lassos):
        half = np.sort(rng.choice(slide.n_patches, slide.n_patches // 2, replace=False))
        session = session.seed((str(name) for name in slide.patch_names[half]), number % 2)
    session_path(slide.path).write_text(session.model_dump_json(by_alias=True, indent=1), encoding="utf-8")


def main() -> None:
    """Measure and print one line a kind of request."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--patches", type=int, default=500_000)
    parser.add_argument("--lassos", type=int, default=8)
    parser.add_argument("--clicks", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        slide = make(Path(folder), options.patches)
        write_history(slide, options.lassos)
        session = session_path(slide.path)
        server, state = Server(), {"revision": 0}

        def size() -> str:
            return f"session {session.stat().st_size / 1e6:.1f} MB"

        def ask(endpoint: str, **content: Any) -> tuple[float, float]:
            begin = time.perf_counter()
            asked = {"h5ad": slide.path.name, **content}
            state.update(server.ask(endpoint, reach_of(slide.path.parent, asked), asked))
            done = time.perf_counter()
            as_json(state)
            return done - begin, time.perf_counter() - done

        def change(name: str, *changes: dict[str, Any]) -> None:
            took = [ask("change", revision=state["revision"], change=each) for each in changes]
            seconds, as_json = (statistics.median(each) for each in zip(*took, strict=True))
            print(f"{name}: {seconds:.3f} s, and {as_json:.3f} s of JSON; {size()}")

        print(f"{options.patches:,} patches, {options.lassos} lassos; {size()}")
        print(f"open: {ask('open')[0]:.2f} s")
        clicks = [{"kind": "seed", "label": row % 2, "patches": [row]} for row in range(options.clicks)]
        change("click", *clicks)
        change("undo", *[{"kind": "undo"}] * options.clicks)
        change("redo", *[{"kind": "redo"}] * options.clicks)
        change("clear", {"kind": "clear"})
        change("click after clear", *clicks)
        print(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
