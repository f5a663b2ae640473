"""What a person does with a file of each kind, and what must then be so.

A door gets the file, with whatever it needs beside it in the same folder, and returns what is wrong with what
it got, in words; None where nothing is. Refusals are the project's own errors.
"""

import json

import numpy as np
from hostile.originals import HEIGHT, MPP, N_PATCHES, TILE, WIDTH, original, picture

from embedder.embedding.request import gather
from embedder.patches.drawn import read_tissue
from embedder.patches.tissue import tissue_mask
from tissuumaps_sic.annotation.runs import cluster
from tissuumaps_sic.annotation.seeds import read_seeds
from tissuumaps_sic.slidefile import contract
from tissuumaps_sic.slidefile.pixels.slide import open_slide
from tissuumaps_sic.slidefile.placing import layers_of
from tissuumaps_sic.slides.slide import open_slide_file
from tissuumaps_sic.truth.classes import TruthClasses
from tissuumaps_sic.truth.squares import patch_squares
from tissuumaps_sic.truth.truth import read_truth
from tissuumaps_sic.viewer.made_project import make_project

_SEEDS = {0: 1, 9: 1, 17: 1, 7: 0, 15: 0, 23: 0}
# Less than this of a tile's variance is left when it did not come from what was stored.
_BLANK = 0.5


def open_as_user(kind, path):
    """Go through the door of a kind of file."""
    return _DOORS.get(kind, _open_slide)(path)


def _open_slide(path):
    with open_slide(path, mpp=MPP) as slide:
        thumbnail = slide.thumbnail(200)
        mask = tissue_mask(slide)
        if not np.isfinite(mask.share(np.array([0]), np.array([0]), (TILE, TILE))).all():
            return "the share of tissue is no number"
        if slide.size == (WIDTH, HEIGHT):
            return find_blank(slide.read(0, 0, WIDTH, HEIGHT))
        width, height = (min(side, 2000) for side in slide.size)
        slide.read(0, 0, width, height)
    # Another size shows other pixels; that there are any is all that is known.
    return "all of it is black" if not thumbnail.any() else None


def find_blank(pixels):
    """Return which tile is of one colour where the sound file has tissue; a white one may have been left out.

    Glass is white, so a tile that a scanner left out must be; every other blank one was not decoded.
    """
    for top in range(0, HEIGHT, TILE):
        for left in range(0, WIDTH, TILE):
            square = np.s_[top : top + TILE, left : left + TILE]
            if picture()[square].std() > 5 and pixels[square].std() < _BLANK and pixels[square].mean() < 254:
                color = pixels[square][0, 0].tolist()
                return f"the tile at ({left}, {top}) is all {color}, and nothing was said"
    return None


def _open_h5ad(path):
    problems = contract.check(path)
    slide = open_slide_file(path)
    names = slide.patch_names
    if len(set(names)) != len(names):
        return "opened with two patches of one name"
    if not np.isfinite(slide.centres).all():
        return "opened with a patch that has no place"
    make_project(path)
    if slide.n_patches <= max(_SEEDS):
        return None
    seeds = {str(names[row]): label for row, label in _SEEDS.items()}
    run, scores = cluster(slide, _classes(), seeds)
    labels = run.unpack()
    if labels.shape != (slide.n_patches,) or not np.isfinite(scores).all():
        return "the labels do not fit the patches, or a score is no number"
    wrong = [row for row, label in _SEEDS.items() if labels[row] != label]
    if wrong:
        return f"the seeds at rows {wrong} lost their class"
    return (
        None if all(each.rule and each.fix for each in problems) else "a broken rule without a name or a fix"
    )


def _classes():
    from tissuumaps_sic.annotation.classes import DEFAULT_CLASSES

    return DEFAULT_CLASSES


def _slide_beside(path):
    h5ad = path.parent / "beside.h5ad"
    h5ad.write_bytes(original("h5ad"))
    return open_slide_file(h5ad)


def _read_areas(path):
    """Read a truth, then the same file as tissue; what one refuses the other must see, too."""
    squares = patch_squares(_slide_beside(path))
    values = ["Tumour=1", "Other=2"] if path.suffix == ".png" else ["Tumour=Tumour", "Other=Other"]
    truth = read_truth(path, squares, TruthClasses.parse(values))
    if truth.labels.shape != (N_PATCHES,):
        return "not one class for each patch"
    if not (truth.labels >= 0).any():
        return "no patch has a class, and nothing was said"
    if path.suffix == ".xml":
        return None
    image = path.parent / "beside.tif"
    image.write_bytes(original("tiff-raw"))
    with open_slide(image, mpp=MPP) as slide:
        read_tissue(slide, path)
    return None


def _read_seeds(path):
    seeds = read_seeds(path, _slide_beside(path), positive="Tumour")
    names = set(_slide_beside(path).patch_names)
    if not set(seeds.patches) <= names:
        return f"seeds of patches that there are not: {sorted(set(seeds.patches) - names)[:3]}"
    return None if seeds.patches else "no seeds, and nothing was said"


def _read_slides(path):
    found = gather([path])
    for each in found:
        if each.mpp is not None and not 0 < each.mpp < 1e6:
            return f"a resolution of {each.mpp}"
    if not found:
        return "no slides, and nothing was said"
    return None


def _read_session(path):
    seeds = read_seeds(path, _slide_beside(path))
    return (
        None
        if all(0 <= label < len(seeds.classes) for label in seeds.patches.values())
        else "a seed of no class"
    )


def _read_project(path):
    """Projects are read for their image alone; a damaged one is as good as none."""
    h5ad = path.with_suffix(".h5ad")
    h5ad.write_bytes(original("h5ad"))
    for layer in layers_of(h5ad):
        json.dumps(layer)
    return


_DOORS = {
    "h5ad": _open_h5ad,
    **dict.fromkeys(("geojson", "geojson-gz", "asap", "mask"), _read_areas),
    **dict.fromkeys(("seeds", "seeds-by-place"), _read_seeds),
    "slides": _read_slides,
    "session": _read_session,
    "project": _read_project,
}
