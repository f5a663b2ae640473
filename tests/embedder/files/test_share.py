"""What is shared tells nothing of whose slide it is, and is as useful as before."""

import base64
import json
import os
import shutil
import socket
import time
from pathlib import Path

import anndata
import h5py
import numpy as np
import pytest
from making.embeddings import MeanEncoder, write_ramp
from making.slides import slide_arguments

import embedder.embedding.encoding
from embedder.cli import main
from embedder.embedding.options import EmbedOptions
from embedder.embedding.pipeline import embed_slides
from embedder.embedding.writing import write_slide
from embedder.files import combine, proof
from embedder.files.proof import ShareError
from embedder.files.share import share
from embedder.files.sharing_key import read_key
from tissuumaps_sic import cli as sic
from tissuumaps_sic.labelling.clustering import SeededIterativeClustering
from tissuumaps_sic.slidefile.contract import check
from tissuumaps_sic.slidefile.fine import read_fine
from tissuumaps_sic.slidefile.made import MadeFiles
from tissuumaps_sic.slidefile.matrix import StoredMatrix
from tissuumaps_sic.slides.slide import open_slide_file

KEY = b"a secret of enough bytes"
NAME = "Patient-Miller-0815"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An embedded, labelled and crowded file: columns, layers and pixels that others put there."""
    folder = tmp_path_factory.mktemp("made")
    slide = write_ramp(folder / f"{NAME}.tif", width=1900)
    options = EmbedOptions(umap=False, min_tissue=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedder.embedding.encoding, "load_encoder", lambda *args, **kwargs: MeanEncoder())
        embed_slides([slide], folder, options)
        (folder / "other").mkdir()
        other = embed_slides([slide], folder / "other", options)[0].h5ad
    path = folder / f"{NAME}.h5ad"
    combine.add_embedding(path, Path(other), name="again")
    seeds = folder / "seeds.csv"
    seeds.write_text("x,y,class\n200,200,1\n300,300,1\n1500,800,0\n1600,900,0\n")
    assert sic.main(["run", str(path), "--seeds", str(seeds), "-o", str(folder / "labelled.h5ad")]) == 0
    adata = anndata.read_h5ad(folder / "labelled.h5ad")
    adata.obs["patient"] = "Miller"
    adata.obs["stage"] = np.arange(adata.n_obs) % 3
    adata.var["note"] = "from the Miller study"
    adata.layers["raw"] = adata.X.copy()
    adata.obsm["X_private"] = np.ones((adata.n_obs, 3), np.float32)
    adata.uns["scanner"] = {"serial": "SS1234"}
    adata.obsp["near"] = np.eye(adata.n_obs)
    adata.write_h5ad(path, convert_strings_to_categoricals=False)
    return path


@pytest.fixture
def labelled(made, tmp_path):
    """That file, to change and to share."""
    (tmp_path / "made").mkdir()
    return Path(shutil.copy(made, tmp_path / "made"))


def all_bytes(path):
    return path.read_bytes() + path.with_suffix(".tmap").read_bytes()


def test_nothing_identifying_is_left_and_all_that_went_is_listed(labelled, tmp_path):
    shared = share(labelled, tmp_path / "shared", key=KEY, rename=True)
    content = all_bytes(shared.path)
    for told in (NAME, "Miller", "SS1234", "private", str(tmp_path), socket.gethostname(), ".tif"):
        assert told.lower().encode() not in content.lower(), told
    known = json.loads(anndata.read_h5ad(shared.path).uns["embedder"])
    assert known["slide"]["hash"] is None
    places = {change.place for change in shared.changes}
    assert {"obs/patient", "obs/stage", "var/note", "layers", "obsp", "obsm/X_private"} <= places
    assert {"uns/scanner", "uns/embedder: slide.hash", "obs index", "obs/library_id"} <= places
    assert any(place.startswith("uns/sic: ") and "run.time" in place for place in places)
    assert check(shared.path) == []


def test_what_is_useful_is_all_there(labelled, tmp_path):
    shared = share(labelled, tmp_path / "shared", key=KEY, rename=True)
    a, b = anndata.read_h5ad(labelled), anndata.read_h5ad(shared.path)
    assert np.array_equal(a.X, b.X)
    assert np.array_equal(a.obsm["X_again"], b.obsm["X_encoder-00000000"])
    assert np.array_equal(a.obsm["spatial"], b.obsm["spatial"])
    for key in ("fine", "fine_tissue"):
        assert a.obsm[key].dtype == b.obsm[key].dtype
        assert np.array_equal(a.obsm[key], b.obsm[key])
    for column in ("x0", "y0", "umap_rgb", "tissue", "sic_label", "sic_score", "sic_seed"):
        assert a.obs[column].tolist() == b.obs[column].tolist(), column
    before, after = (json.loads(each.uns["embedder"]) for each in (a, b))
    for part in ("grid", "versions"):
        assert before[part] == after[part]
    for key in ("dimension", "weights_sha256", "transform", "precision", "storage"):
        assert before["encoder"][key] == after["encoder"][key]
    assert [each["key"] for each in after["encoders"]] == ["X", "obsm/X_encoder-00000000"]
    assert json.loads(b.uns["sic"])["run"]["method"] == "refine"
    classes = (json.loads(each.uns["sic"])["classes"] for each in (a, b))
    first, second = ([each["name"] for each in some] for some in classes)
    assert first == second
    slide = open_slide_file(shared.path)
    assert isinstance(slide.X, StoredMatrix)
    y = np.full(len(slide.X), -1)
    y[:2], y[-2:] = 1, 0
    SeededIterativeClustering(method="refine").fit(slide.X, y, slide.centres)


@pytest.mark.parametrize("keep", [True, False])
def test_cells_smaller_than_a_patch_are_kept_or_left_out(labelled, tmp_path, keep):
    shared = share(labelled, tmp_path / "shared", key=KEY, rename=True, shift=True, fine=keep, compress=True)
    fine, whole = read_fine(shared.path), read_fine(labelled)
    with h5py.File(shared.path) as file:
        assert ("fine" in file["obsm"], "fine_tissue" in file["obsm"]) == (keep, keep)
        assert ("fine" in json.loads(file["uns/embedder"].asstr()[()])) == keep
    told = {change.place for change in shared.changes}
    assert ({"obsm/fine", "obsm/fine_tissue", "uns/embedder: fine"} <= told) != keep
    if keep:
        assert np.array_equal(np.asarray(fine.values), np.asarray(whole.values))
        assert np.array_equal(fine.tissue, whole.tissue)
        assert fine.cell0 == whole.cell0
    else:
        assert fine is None
    assert check(shared.path) == []


def test_a_name_is_the_same_for_the_same_key_and_another_for_another(labelled, tmp_path):
    names = [
        share(labelled, tmp_path / str(k), key=key, rename=True).name
        for k, key in enumerate([KEY, KEY, b"another secret of 16 bytes"])
    ]
    assert names[0] == names[1] != names[2]
    assert all(len(name) == 16 for name in names)
    shared = anndata.read_h5ad(tmp_path / "0" / f"{names[0]}.h5ad")
    assert all(name.startswith(f"{names[0]}_") for name in shared.obs_names)


def test_a_shift_moves_everything_alike_and_hides_the_size(labelled, tmp_path):
    shared = share(labelled, tmp_path / "shared", key=KEY, shift=True)
    a, b = anndata.read_h5ad(labelled), anndata.read_h5ad(shared.path)
    moved = b.obsm["spatial"] - a.obsm["spatial"]
    assert (moved == moved[0]).all()
    assert (moved[0] != 0).all()
    assert (moved[0] == np.rint(moved[0])).all()
    assert (b.obs["x0"] - a.obs["x0"].to_numpy() == moved[0, 0]).all()
    assert (b.obs["y0"] - a.obs["y0"].to_numpy() == moved[0, 1]).all()
    assert (b.obs[["x0", "y0"]].to_numpy() >= 0).all()
    assert b.obs_names[0] == f"{NAME}_{b.obs['x0'].iloc[0]}_{b.obs['y0'].iloc[0]}"
    slide = json.loads(b.uns["embedder"])["slide"]
    edge = json.loads(b.uns["embedder"])["grid"]["patch_size0"]
    assert slide["size"] == (b.obs[["x0", "y0"]].max().to_numpy() + edge).tolist()
    assert slide["bounds"] == [0, 0, *slide["size"]]
    assert check(shared.path) == []
    other = share(labelled, tmp_path / "other", key=b"another secret of 16 bytes", shift=True)
    assert not np.array_equal(anndata.read_h5ad(other.path).obsm["spatial"], b.obsm["spatial"])


def test_the_project_shows_the_patches_without_the_image(labelled, tmp_path):
    shared = share(labelled, tmp_path / "shared", key=KEY, rename=True)
    project = json.loads(shared.path.with_suffix(".tmap").read_text())
    assert project["layers"] == []
    assert project["markerFiles"][0]["path"] == shared.path.name
    assert project == json.loads(anndata.read_h5ad(shared.path).uns["tmap"])


def test_pixels_are_never_shared(tmp_path, monkeypatch):
    monkeypatch.setattr(embedder.embedding.encoding, "load_encoder", lambda *args, **kwargs: MeanEncoder())
    slide = write_ramp(tmp_path / "ramp.tif")
    embed_slides([slide], tmp_path / "made", EmbedOptions(umap=False, min_tissue=0, thumbnail=True))
    shared = share(tmp_path / "made" / "ramp.h5ad", tmp_path / "shared")
    with h5py.File(shared.path) as file:
        assert "spatial" not in file["uns"]
    assert ("uns/spatial", "removed") in {(each.place, each.what) for each in shared.changes}
    assert check(shared.path) == []


def test_what_is_asked_for_is_kept(labelled, tmp_path):
    shared = share(labelled, tmp_path / "shared", keep=["obs/stage"])
    found, expected = (anndata.read_h5ad(each).obs["stage"] for each in (shared.path, labelled))
    assert found.tolist() == expected.tolist()


def test_the_proof_finds_what_was_kept_by_mistake(labelled, tmp_path):
    adata = anndata.read_h5ad(labelled)
    adata.obs["file"] = [f"scan of {NAME.lower()}"] * adata.n_obs
    adata.obs["where"] = ["/home/ann/slides"] * adata.n_obs
    adata.write_h5ad(labelled, convert_strings_to_categoricals=False)
    for keep, told in (("obs/file", "the slide's name"), ("obs/where", "a path")):
        with pytest.raises(ShareError, match=f"would still hold {told} in {keep}"):
            share(labelled, tmp_path / "shared", key=KEY, rename=True, keep=[keep])
    assert list((tmp_path / "shared").iterdir()) == []


@pytest.mark.parametrize("who", ["gethostname", "user"])
def test_the_proof_finds_the_machine_and_the_user(labelled, tmp_path, monkeypatch, who):
    adata = anndata.read_h5ad(labelled)
    adata.obs["by"] = ["made by annmiller on labpc"] * adata.n_obs
    adata.write_h5ad(labelled, convert_strings_to_categoricals=False)
    if who == "user":
        monkeypatch.setattr(proof, "_user", lambda: "annmiller")
    else:
        monkeypatch.setattr(proof.socket, "gethostname", lambda: "labpc")
    with pytest.raises(ShareError, match=r"name in obs/by"):
        share(labelled, tmp_path / "shared", keep=["obs/by"])


def test_compressed_embeddings_are_the_same_and_pass_the_check(labelled, tmp_path):
    shared = share(labelled, tmp_path / "shared", compress=True)
    with h5py.File(shared.path) as file:
        assert file["X"].compression == "gzip"
    assert np.array_equal(anndata.read_h5ad(shared.path).X, anndata.read_h5ad(labelled).X)
    assert check(shared.path) == []


def test_a_file_is_never_written_over_itself(labelled):
    before = labelled.read_bytes()
    with pytest.raises(ShareError, match="over itself"):
        share(labelled, labelled.parent)
    assert labelled.read_bytes() == before


def test_a_key_is_made_once_and_is_its_owners_alone(tmp_path):
    path = tmp_path / "key"
    key = read_key(path)
    assert len(key) >= 32
    assert read_key(path) == key
    assert path.stat().st_mode & 0o077 == 0
    path.write_text("short")
    with pytest.raises(ShareError, match="at least 16"):
        read_key(path)


def test_the_command_shares_what_it_can_and_lists_it(labelled, tmp_path, capsys):
    bad = tmp_path / "bad.h5ad"
    bad.write_text("nothing")
    arguments = ["share", str(bad), str(labelled), "-o", str(tmp_path / "shared")]
    assert main([*arguments, "--rename", "--shift", "--key", str(tmp_path / "key")]) == 1
    told = capsys.readouterr().out
    assert "obs/patient: removed" in told
    assert len(list((tmp_path / "shared").glob("*.h5ad"))) == 1
    assert main(["share", str(labelled), "-o", str(tmp_path / "again"), "--rename"]) == 2
    assert main(["share", str(labelled), "-o", str(tmp_path / "plain"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["name"] == NAME


def test_a_file_that_does_not_say_how_it_lies_is_told(tmp_path):
    write_slide(tmp_path / "A b.h5ad", **slide_arguments())
    with pytest.raises(ShareError, match=r"has no 'stride'"):
        share(tmp_path / "A b.h5ad", tmp_path / "shared")
    assert not (tmp_path / "shared").exists()


# ------------------------------------------------------------------------------- a token in every place


class Tokens:
    """Words that are nowhere else, each with the place that it was put into."""

    def __init__(self):
        self.places = {}

    def __call__(self, place):
        token = f"Zq{len(self.places):04d}xT"
        self.places[token] = place
        return token


# What the contract, the project or the coordinates hang on, or is the label that is shared.
NEEDED = {
    "stride",
    "scale",
    "patch_size0",
    "patch_width0",
    "patch_height0",
    "side",
    "channels",
    "cell",
    "mpp_x",
    "mpp_y",
    "name",
    "key",
    "umap",
}


def plant_json(value, token, place, needed=NEEDED):
    """Return JSON with a token in every dict (key and value), list and leaf."""
    if isinstance(value, dict):
        planted = {
            key: each
            if key in needed and not isinstance(each, dict | list)
            else plant_json(each, token, f"{place}.{key}", needed)
            for key, each in value.items()
        }
        inner = json.dumps({"a": [{token(f"{place} nested key"): token(f"{place} nested value")}]})
        return planted | {token(f"{place} new key"): token(f"{place} new value"), "notes": inner}
    if isinstance(value, list):
        planted = [plant_json(each, token, f"{place}[]", needed) for each in value]
        return [*planted, *([] if place.endswith((".classes", ".encoders")) else [token(f"{place}[] new")])]
    return token(f"{place} leaf")


def plant_in_group(group, token, place):
    """Put what an HDF5 group can hold into one."""
    lengths = {"obs": 91, "obsm": 91, "var": 12}
    if place in lengths:
        texts = [token(f"{place} column")] * lengths[place]
        group.create_dataset(token(f"{place} column's name"), data=texts, dtype=h5py.string_dtype())
        # The contract wants one entry for each patch of whatever else lies here.
        group = group.create_group(token(f"{place} group within"))
    group.create_dataset(token(f"{place} dataset's name"), data=token(f"{place} dataset"))
    group.create_group(token(f"{place} group's name"))
    group[token(f"{place} link's name")] = h5py.SoftLink("/" + token(f"{place} link's target"))
    enum = h5py.enum_dtype({token(f"{place} enum's member"): 1}, basetype="i")
    group[token(f"{place} type's name")] = np.dtype(
        [(token(f"{place} field"), "i4"), (token(f"{place} title"), h5py.string_dtype())]
    )
    group.create_dataset(token(f"{place} enum's name"), (3,), enum)
    text = token(f"{place} fill value").encode()
    group.create_dataset(
        token(f"{place} filled"), (3,), "S8", fillvalue=text, chunks=(2,), compression="gzip"
    )
    item = group.create_dataset(token(f"{place} opaque"), data=np.void(token(f"{place} void").encode()))
    item.attrs["reference"] = group[next(iter(group))].ref
    # Left behind in the file when the name goes.
    group.create_dataset("deleted", data=token(f"{place} free space"))
    del group["deleted"]


def plant_in_dataset(item, token, place):
    """Rewrite a dataset of texts so that it holds a token, where that leaves the contract whole."""
    texts = h5py.check_string_dtype(item.dtype) is not None
    if place in ("obs/_index", "var/_index"):
        item[...] = [f"{token(place)}_{'_'.join(each.split('_')[1:])}" for each in item.asstr()[()]]
    elif place in ("uns/embedder", "uns/sic"):
        needed = NEEDED if place == "uns/embedder" else {"name"}
        item[()] = json.dumps(plant_json(json.loads(item.asstr()[()]), token, place, needed))
    elif place.endswith("/categories"):
        kept, path = list(item.asstr()[()]), item.name
        file, attributes = item.file, dict(item.attrs)
        del file[path]
        file.create_dataset(path, data=[*kept, token(f"{place} unused")], dtype=h5py.string_dtype())
        file[path].attrs.update(attributes)
        if place.startswith("obs/sic_label"):
            del file["uns/sic_label_colors"]
            colors = [*["#00ff00"] * len(kept), token("a colour")]
            file.create_dataset("uns/sic_label_colors", data=colors, dtype=h5py.string_dtype())
    elif place == "uns/sic_label_colors":
        pass  # with the categories
    elif texts and place in ("obs/patient", "var/note"):
        item[...] = [token(place)] * len(item)
    elif texts and item.shape == () and place != "uns/tmap":
        item[()] = token(place)
    elif texts:
        assert place in ("obs/umap_rgb", "uns/tmap"), f"no token was put into {place}"
    else:
        assert item.dtype.kind in "iuf", f"no token was put into {place}"  # numbers


def plant(path):
    token = Tokens()
    with h5py.File(path, "r+") as file:
        items = [("/", file)]
        file.visititems(lambda name, item: items.append((name, item)))
        for place, item in items:
            if isinstance(item, h5py.Group):
                plant_in_group(item, token, place)
            else:
                plant_in_dataset(item, token, place)
            item = file[place]
            item.attrs[token(f"{place} attribute's name")] = token(f"{place} attribute")
            item.attrs["of many"] = [token(f"{place} attributes"), "b"]
        for frame in ("obs", "var"):
            name = token(f"{frame} index name")
            file[frame].move("_index", name)
            file[frame].attrs["_index"] = name
        name = token("an added embedding's name")
        file["obsm"].move("X_again", f"X_{name}")
        known = json.loads(file["uns/embedder"].asstr()[()])
        known["encoders"][1]["key"] = f"obsm/X_{name}"
        known["encoders"][1]["name"] = known["encoder"]["name"] = token("an encoder's name")
        file["uns/embedder"][()] = json.dumps(known)
    block = "".join(token("user block") for _ in range(3)).encode().ljust(512, b"\0")
    path.write_bytes(block + path.read_bytes() + token("behind the end").encode())
    return token.places


def spellings(token):
    """How bytes can hold a text: as it is, in 16 bits, and in base64 at each of its three beginnings."""
    yield token.encode()
    yield token.encode("utf-16-le")
    for shift in range(3):
        # Signs at the rim depend on their neighbours.
        yield base64.b64encode(b"\0" * shift + token.encode())[shift + 1 : -4]


def everything_in(path):
    """Return the bytes of a file, and those of its datasets decoded."""
    parts = [path.read_bytes(), path.with_suffix(".tmap").read_bytes()]
    with h5py.File(path) as file:

        def decode(name, item):
            if isinstance(item, h5py.Dataset):
                value = item[()]
                parts.append(value if isinstance(value, bytes) else repr(np.asarray(value).tolist()).encode())

        file.visititems(decode)
    return b"\n".join(parts)


@pytest.mark.parametrize("compress", [False, True])
def test_no_token_of_any_place_is_in_the_copy(labelled, tmp_path, compress):
    places = plant(labelled)
    assert len(places) > 300
    assert [each.rule for each in check(labelled)] == []
    shared = share(labelled, tmp_path / "shared", key=KEY, rename=True, shift=True, compress=compress)
    content = everything_in(shared.path)
    told = {place for token, place in places.items() if any(each in content for each in spellings(token))}
    assert told == set()
    assert check(shared.path) == []
    with h5py.File(shared.path) as file:
        assert file.userblock_size == 0


def test_the_test_finds_a_token_that_is_there(labelled, tmp_path):
    places = plant(labelled)
    with h5py.File(labelled, "r+") as file:
        values = file["obs/patient"].asstr()[()]
    shared = share(
        labelled, tmp_path / "shared", key=KEY, rename=True, keep=["obs/patient"], allow=["patient"]
    )
    content = everything_in(shared.path)
    told = {place for token, place in places.items() if any(each in content for each in spellings(token))}
    assert told == {places[values[0]]} == {"obs/patient"}


# ------------------------------------------------------------------------------ words of the slide's name


def relabelled(path, name):
    """Call the first class something else, wherever that stands."""
    adata = anndata.read_h5ad(path)
    old = adata.obs["sic_label"].cat.categories[0]
    for column in ("sic_label", "sic_seed"):
        adata.obs[column] = adata.obs[column].cat.rename_categories({old: name})
    known = json.loads(adata.uns["sic"])
    for each in known["classes"]:
        each["name"] = name if each["name"] == old else each["name"]
    adata.uns["sic"] = json.dumps(known)
    adata.write_h5ad(path, convert_strings_to_categoricals=False)


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("Patient_Miller_0815", "miller"),
        ("Miller", "miller"),
        ("0815", "0815"),
        ("MILLERS tumour", "miller"),
        ("no.0815b", "0815"),
        ("tumour (PatientX)", "patient"),
        ("Mïller", "miller"),
    ],
)
def test_words_of_the_slides_name_are_found_in_classes(labelled, tmp_path, name, word):
    relabelled(labelled, name)
    with pytest.raises(ShareError, match=f"'{word}|'0815|the slide's name"):
        share(labelled, tmp_path / "shared", key=KEY, rename=True)
    words = ["miller", "PATIENT", "0815", NAME]
    shared = share(labelled, tmp_path / "shared", key=KEY, rename=True, allow=words)
    assert name in anndata.read_h5ad(shared.path).obs["sic_label"].cat.categories
    share(labelled, tmp_path / "by name", key=KEY)  # which hides no name


def test_a_class_that_nothing_is_of_is_no_reason_to_refuse(labelled, tmp_path):
    with h5py.File(labelled, "r+") as file:
        known = json.loads(file["uns/sic"].asstr()[()])
        known["classes"].append({"name": "Miller", "color": "#112233"})
        known["run"]["counts"].append(0)
        file["uns/sic"][()] = json.dumps(known)
        plant_in_dataset(file["obs/sic_label/categories"], lambda place: "Miller", "obs/sic_label/categories")
        file["uns/sic_label_colors"][-1] = "#112233"
    shared = share(labelled, tmp_path / "shared", key=KEY, rename=True)
    adata = anndata.read_h5ad(shared.path)
    run = json.loads(adata.uns["sic"])
    names = [each["name"] for each in run["classes"]]
    assert sorted(names) == sorted(adata.obs["sic_label"].cat.categories)
    assert "Miller" not in names
    assert len(run["run"]["counts"]) == len(names) == len(adata.uns["sic_label_colors"])


@pytest.mark.parametrize("name", ["/x", "~tilde", "H/E", "C:x"])
def test_a_class_is_called_what_people_call_it_and_a_path_is_none(labelled, tmp_path, name):
    relabelled(labelled, name)
    assert check(labelled) == []
    shared = share(labelled, tmp_path / "shared")
    assert name in anndata.read_h5ad(shared.path).obs["sic_label"].cat.categories
    relabelled(labelled, f"tumour of {Path('/home/ann/x')}")
    with pytest.raises(ShareError, match="a path"):
        share(labelled, tmp_path / "shared")


def test_paths_within_texts_and_in_json_in_texts_are_found(labelled, tmp_path):
    adata = anndata.read_h5ad(labelled)
    adata.uns["note"] = json.dumps({"a": json.dumps(["from /home/ann/w.pth"])})
    adata.write_h5ad(labelled, convert_strings_to_categoricals=False)
    with pytest.raises(ShareError, match="a path in uns/note"):
        share(labelled, tmp_path / "shared", keep=["uns/note"])


def test_a_renamed_slide_does_not_tell_what_singles_it_out(labelled, tmp_path):
    shared = share(labelled, tmp_path / "shared", key=KEY, rename=True)
    known = json.loads(anndata.read_h5ad(shared.path).uns["embedder"])
    assert known["slide"]["hash"] is None
    assert known["seconds"] == {}
    assert known["tissue"]["parameters"].get("threshold") is None
    assert known["slide"]["size"] != [1900, 1100]
    assert known["slide"]["bounds"] == [0, 0, *known["slide"]["size"]]


def test_values_in_other_files_are_not_copied(labelled, tmp_path):
    with h5py.File(tmp_path / "outside.h5", "w") as file:
        file["xy"] = np.zeros((91, 2))
    good = labelled.read_bytes()
    layout = h5py.VirtualLayout((91, 2), "f8")
    layout[:] = h5py.VirtualSource(tmp_path / "outside.h5", "xy", (91, 2))
    ways = [
        lambda file: file.__setitem__("obsm/X_new", h5py.ExternalLink(str(tmp_path / "outside.h5"), "xy")),
        lambda file: file.create_virtual_dataset("uns/deep/virtual", layout),
        lambda file: file.create_dataset(
            "obsm/X_raw", (91, 2), "f8", external=[(str(tmp_path / "raw"), 0, 91 * 16)]
        ),
    ]
    for way in ways:
        labelled.write_bytes(good)
        with h5py.File(labelled, "r+") as file:
            way(file)
        with pytest.raises(ShareError, match="lies in another file"):
            share(labelled, tmp_path / "shared")


# ------------------------------------------------------------------------------------------------ the key


def test_a_key_in_the_folder_that_is_shared_is_refused(tmp_path):
    folder = tmp_path / "shared"
    folder.mkdir()
    for path in (folder / "key", folder / "below" / "key", tmp_path / "x" / ".." / "shared" / "key"):
        with pytest.raises(ShareError, match="in the folder that is shared"):
            read_key(path, shared=folder)
    assert list(folder.iterdir()) == []
    (tmp_path / "away").symlink_to(folder / "secret")
    with pytest.raises(ShareError, match="in the folder that is shared"):
        read_key(tmp_path / "away", shared=folder)
    assert len(read_key(tmp_path / "key", shared=folder)) == 64


@pytest.mark.parametrize(
    "content",
    [
        b"a" * 16,
        b"ab" * 40,
        b"abcdefgh" * 4,
        b"passwordpassword",
        b"0123456789abcdef",
        b"abcdefghijklmnopqrst",
        b"\0" * 64,
        b"root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n",
        bytes(range(256)) * 40,
    ],
)
def test_what_is_no_secret_is_no_key(tmp_path, content):
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(ShareError, match="secret"):
        read_key(tmp_path / "key")
    with pytest.raises(ShareError, match="secret"):
        read_key(tmp_path)
    with pytest.raises(ShareError, match=r"secret|16"):
        share(tmp_path / "any.h5ad", tmp_path, key=content[:20], rename=True)


@pytest.mark.parametrize(
    "content",
    [
        b"correct horse battery staple\n",
        bytes(range(0, 256, 7))[::-1] + b"\n\x91\x03\xfe",
        b"\xd3k9" * 2 + KEY,
    ],
)
def test_secrets_that_people_have_are_keys(tmp_path, content):
    (tmp_path / "key").write_bytes(content)
    assert read_key(tmp_path / "key") == content.strip()


def test_a_folder_is_shared_and_only_what_changed_is_shared_again(labelled, tmp_path, capsys):
    source = labelled.parent
    shutil.copy(labelled, source / "a.h5ad")
    assert main(["share", str(source), "-o", str(tmp_path / "none")]) == 2
    assert not (tmp_path / "none").exists(), "one copy would have taken the other's place"
    with h5py.File(source / "a.h5ad", "r+") as file:
        known = json.loads(file["uns/embedder"].asstr()[()])
        known["slide"]["name"] = "a"
        file["uns/embedder"][()] = json.dumps(known)
    secret, out = tmp_path / "secret", tmp_path / "shared"
    command = ["share", str(source), "-o", str(out), "--shift", "--key", str(secret), "--json"]
    assert main(command) == 0
    first = json.loads(capsys.readouterr().out)
    assert [each["status"] for each in first] == ["done", "done"]
    assert {path.name for path in out.iterdir()} == {
        f"{each['name']}.{ending}" for each in first for ending in ("h5ad", "tmap")
    }, "a list of what was made is nothing to be shared"
    assert main(command) == 0
    assert [each["status"] for each in json.loads(capsys.readouterr().out)] == ["up to date"] * 2
    stamp = time.time_ns()
    os.utime(source / "a.h5ad", ns=(stamp, stamp))
    assert main(command) == 0
    assert [each["status"] for each in json.loads(capsys.readouterr().out)] == ["up to date", "done"]
    assert main([*command, "--compress"]) == 0
    assert [each["status"] for each in json.loads(capsys.readouterr().out)] == ["done", "done"]
    # Nor does the list that is kept beside the sources hold the secret.
    kept = (source / MadeFiles.NAME).read_text()
    assert secret.read_text().strip() not in kept
