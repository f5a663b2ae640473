"""What files of all versions and programs say of their making is read, and written again as it was."""

import json

import pytest

from embedder.files import whitelist
from tissuumaps_sic.slidefile.provenance import (
    EmbeddingRecord,
    GridRecord,
    Provenance,
    SlideRecord,
    TissueRecord,
)


def test_what_is_not_known_or_of_another_kind_counts_as_untold_and_is_written_as_it_was():
    document = {
        "later": {"key": [1]},
        "slide": 5,
        "grid": {"stride": True, "patch_size": "x", "scale": 2, "patch_size0": 3.5, "mine": None},
        "encoder": {"name": 7, "dimension": 4.5},
        "umap": 0,
        "encoders": [1, {"key": 2}],
    }
    known = Provenance.of(document)
    assert known.slide == SlideRecord()
    assert (known.grid.stride, known.grid.patch_size, known.grid.scale) == (None, None, 2)
    assert known.grid.edges0 == (3.5, 3.5)
    assert (known.encoder.name, known.encoder.dimension, known.umap) == (None, None, None)
    assert [each.key for each in known.encoders] == [None, None]
    assert known.lacks == ["tissue", "versions", "seconds"]
    assert json.loads(known.to_json()) == document


@pytest.mark.parametrize("document", [None, [], "text", 7, {}])
def test_what_is_no_object_tells_nothing(document):
    known = Provenance.of(document)
    assert not known.is_told
    assert known.slide == SlideRecord()
    assert not known.of_embedding("other").is_told


@pytest.mark.parametrize(
    ("size", "known", "possible"),
    [
        ([20, 10], (20, 10), (20, 10)),
        ([20.0, 10.9], (20, 10), (20, 10)),
        ([20, 0], (20, 0), None),
        ([20], None, None),
        ([20, True], None, None),
        ([20, float("inf")], None, None),
        ("20", None, None),
    ],
)
def test_a_size_is_two_whole_numbers(size, known, possible):
    slide = Provenance.of({"slide": {"size": size}}).slide
    assert (slide.size, slide.known_size) == (known, possible)


def test_edges_and_pixels_are_told_of_both_directions_or_not_at_all():
    assert GridRecord(patch_width0=3, patch_height0=4, patch_size0=5).patch0 == (3, 4)
    assert GridRecord(patch_size0=5).patch0 == (5, 5)
    assert GridRecord(patch_width0=3).patch0 is None
    assert GridRecord(patch_size0=-5).patch0 is None
    assert SlideRecord(mpp_x=0.5, mpp_y=0).mpp is None
    assert SlideRecord(mpp_x=0.5, mpp_y=0.25).mpp == (0.5, 0.25)


def test_what_is_made_is_written_in_the_order_of_its_fields_and_without_what_was_not_given():
    made = Provenance(
        seconds={},
        grid=GridRecord(overlap=0.5, target_mpp=1),
        slide=SlideRecord(name="caf\u00e9 \udce9", bounds=(0, 0, 2, 1), size=(2, 1), hash=None),
        tissue=TissueRecord(parameters={"a": 1}),
    )
    text = (
        '{"slide": {"name": "caf\\u00e9 \\udce9", "size": [2, 1], "bounds": [0, 0, 2, 1], "hash": null}, '
        '"grid": {"target_mpp": 1, "overlap": 0.5}, "tissue": {"parameters": {"a": 1}}, "seconds": {}}'
    )
    assert made.to_json() == text
    assert Provenance.of(json.loads(text)).to_json() == text


def test_an_embedding_that_is_added_is_listed_beside_x_and_takes_the_place_of_its_key():
    base = Provenance.of({"encoder": {"name": "a"}, "grid": {"target_mpp": 0.5, "scale": 2}, "mine": 1})
    other = Provenance.of({"encoder": {"name": "b", "more": 3}, "grid": {"stride": 7, "level": 1}})
    twice = base.with_embedding("obsm/X_b", base).with_embedding("obsm/X_b", other)
    assert twice.document == {
        **base.document,
        "encoders": [
            {"key": "X", "name": "a", "target_mpp": 0.5},
            {"key": "obsm/X_b", "name": "b", "more": 3, "stride": 7},
        ],
    }
    assert [each.key for each in base.embeddings] == ["X"]
    assert [each.name for each in twice.embeddings] == ["a", "b"]
    assert twice.of_embedding("X") is twice
    assert twice.of_embedding("b").grid == GridRecord(stride=7)
    assert twice.of_embedding("b").encoder.model_dump(exclude_unset=True) == {"name": "b", "more": 3}
    assert not twice.of_embedding("c").is_told


def test_whatever_may_be_shared_is_known_to_the_model():
    assert whitelist.PROVENANCE.keys() <= Provenance.model_fields.keys()
    for part, rules in (("slide", SlideRecord), ("grid", GridRecord), ("tissue", TissueRecord)):
        assert whitelist.PROVENANCE[part].keys() <= rules.model_fields.keys()
    assert whitelist.ENCODER.keys() <= EmbeddingRecord.model_fields.keys()
