"""Arguments of `write_slide` for a slide of a dozen patches; slides of formats that few programs write."""

import io

import numpy as np
import tifffile
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit, VLWholeSlideMicroscopyImageStorage

from tissuumaps_sic.slidefile.project import tmap_project
from tissuumaps_sic.slidefile.provenance import Provenance


def slide_arguments(n=12):
    rng = np.random.default_rng(0)
    # Four columns and three rows, patches of 250 level-0 pixels every 125, so that x and y differ.
    x0 = np.array([0, 125, 250, 375] * 3, dtype=np.int64)[:n]
    y0 = np.repeat(np.array([0, 125, 250], dtype=np.int64), 4)[:n]
    centres = np.column_stack([x0, y0]) + 125.0
    provenance = {
        "slide": {"name": "A b", "size": [2000, 1000]},
        "grid": {"patch_size0": 250.0},
        **{key: {} for key in ("tissue", "encoder", "versions", "seconds")},
    }
    return {
        "X": rng.normal(size=(n, 5)).astype(np.float32),
        "x0": x0,
        "y0": y0,
        "centres": centres,
        "tissue": np.linspace(0, 1, n, dtype=np.float32),
        "umap2": rng.normal(size=(n, 2)).astype(np.float32),
        "umap3": rng.normal(size=(n, 3)).astype(np.float32),
        "colors": [f"#0000{i:02x}" for i in range(n)],
        "slide_name": "A b",
        "encoder_name": "net",
        "provenance": Provenance.of(provenance),
        "tmap": project(centres),
    }


def with_fine(arguments, *, side=2, channels=3):
    """Give a slide cells smaller than a patch: numbers that tell patch, row, column and channel."""
    n = len(arguments["X"])
    known = arguments["provenance"].document
    grid = {"patch_size": 500, "stride": 250, **known["grid"]}
    fine = {"side": side, "channels": channels, "cell": 250 / side, "layer": "layer2", "projection": None}
    values = np.arange(n * side**2 * channels, dtype=np.float16).reshape(n, -1)
    tissue = (np.arange(n * side**2) % 101).astype(np.uint8).reshape(n, -1)
    made = Provenance.of(known | {"grid": grid, "fine": fine})
    return arguments | {"provenance": made, "fine": (values, tissue)}


def project(centres, *, image="A b.svs", stride0=125.0, slide_size=(2000, 1000)):
    return tmap_project(
        h5ad_name="A b.h5ad",
        slide_name="A b",
        image=image,
        slide_size=slide_size,
        centres=centres,
        stride0=stride0,
        mpp=0.25,
    )


def write_scn(path, scanned, *, collection, place, mpp=0.5):
    """Write a Leica SCN: a scanned area somewhere on a larger slide, its macro image first.

    `scanned` (rows, columns, 3) lies at `place` (x, y) of a `collection` (width, height), all in pixels.
    """
    nm = round(mpp * 1000)
    (width, height), (rows, columns) = collection, scanned.shape[:2]
    macro = np.full((height // 10, width // 10, 3), 230, np.uint8)

    def image(levels, first, size, offset, objective):
        dimensions = "".join(
            f'<dimension sizeX="{each.shape[1]}" sizeY="{each.shape[0]}" r="{k}" ifd="{first + k}"/>'
            for k, each in enumerate(levels)
        )
        wide, high, left, top = (each * nm for each in (*size, *offset))
        view = f'sizeX="{wide}" sizeY="{high}" offsetX="{left}" offsetY="{top}"'
        return (
            f"<image><pixels>{dimensions}</pixels><view {view}/><scanSettings><objectiveSettings>"
            f"<objective>{objective}</objective></objectiveSettings><illuminationSettings><illuminationSource>"
            "brightfield</illuminationSource></illuminationSettings></scanSettings></image>"
        )

    levels = [scanned, scanned[::2, ::2]]
    xml = (
        '<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01">'
        f'<collection sizeX="{width * nm}" sizeY="{height * nm}">'
        + image([macro], 0, collection, (0, 0), 0.6)
        + image(levels, 1, (columns, rows), place, 20)
        + "</collection></scn>"
    )
    options = {"tile": (128, 128), "photometric": "rgb", "compression": "lzw", "metadata": None}
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        writer.write(macro, description=xml, software=None, **options)
        for level, pixels in enumerate(levels):
            per_cm = 10_000 / mpp / 2**level
            writer.write(
                pixels, subfiletype=level, resolution=(per_cm, per_cm), resolutionunit="CENTIMETER", **options
            )
    return path


def write_dicom(path, image, *, series="1.2.3", instance="1.2.3.4", mpp=0.5, tile=128, flavour="VOLUME"):
    """Write a level of a slide as the least DICOM file that OpenSlide takes for one, in JPEG tiles."""
    rows, columns = image.shape[:2]
    across, down = -(-columns // tile), -(-rows // tile)
    padded = np.pad(image, ((0, down * tile - rows), (0, across * tile - columns), (0, 0)), mode="edge")
    frames = []
    for row in range(down):
        for column in range(across):
            place = np.s_[row * tile : (row + 1) * tile, column * tile : (column + 1) * tile]
            encoded = io.BytesIO()
            Image.fromarray(padded[place]).save(encoded, "jpeg", quality=95, subsampling=0)
            frames.append(encoded.getvalue())
    dataset, spacing = Dataset(), Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset.ImageType = ["ORIGINAL", "PRIMARY", flavour, "NONE"]
    dataset.SOPClassUID, dataset.SOPInstanceUID = VLWholeSlideMicroscopyImageStorage, instance
    dataset.Modality, dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "SM", "1.2", series
    dataset.DimensionOrganizationType = "TILED_FULL"
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = (
        3,
        "YBR_FULL_422",
        0,
    )
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = len(frames), tile, tile
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    dataset.TotalPixelMatrixColumns, dataset.TotalPixelMatrixRows = columns, rows
    spacing.PixelSpacing = [mpp / 1000, mpp / 1000]
    shared = Dataset()
    shared.PixelMeasuresSequence = [spacing]
    dataset.SharedFunctionalGroupsSequence = [shared]
    dataset.PixelData = encapsulate(frames)
    dataset.save_as(path, enforce_file_format=True)
    return path
