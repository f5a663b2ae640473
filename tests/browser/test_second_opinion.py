"""The queue of patches on which a second model differs, in a real TissUUmaps."""

import numpy as np
from test_accessible import faults_of
from test_annotating import click_seeds, truth_of
from test_teaching import card_row, wait_for_another
from test_trust import KEYS
from viewer import ARTIFACTS


def labelled(viewer, per_class=2):
    """Seed few patches of each class by the truth, and run: few, so that two models differ."""
    viewer.page.set_viewport_size({"width": 1280, "height": 720})
    viewer.show_all()
    truth, rng = truth_of(viewer), np.random.default_rng(5)
    rows = {
        int(r): c for c in (0, 1) for r in rng.choice(np.flatnonzero(truth == c), per_class, replace=False)
    }
    click_seeds(viewer, rows)
    viewer.run()
    return rows


def ask(viewer):
    viewer.page.keyboard.press("d")
    viewer.page.wait_for_function("!SIC.app.busy && SIC.app.opinion")
    viewer.wait()


def test_d_asks_pair_by_pair_and_a_key_answers(viewer):
    viewer.page.keyboard.press("d")
    assert "Run first" in viewer.page.inner_text("#sic-status")
    seeded = labelled(viewer)
    ask(viewer)
    (pair,) = viewer.evaluate("SIC.app.opinion.pairs")
    assert sorted(pair["names"]) == ["Other", "Tumour"]
    assert not set(pair["patches"]) & set(seeded)
    title = viewer.page.inner_text("#sic-card-title")
    assert title == f"{pair['names'][0]} or {pair['names'][1]}? 1 of {len(pair['patches'])}"
    assert viewer.page.locator("#sic-card .sic-answer-likely").count() == 2
    row = card_row(viewer)
    assert row == pair["patches"][0]
    viewer.wait_for_thumbnails("#sic-card .sic-card-body")
    viewer.keep_picture(ARTIFACTS, "second_opinion")
    chip = viewer.page.locator("#sic-opinion-0")
    assert chip.inner_text().endswith(f"({len(pair['patches'])})")
    viewer.page.keyboard.press("1")
    if len(pair["patches"]) > 1:
        wait_for_another(viewer, row)
    viewer.wait()
    assert viewer.seeds[row] == 1
    assert chip.inner_text().endswith(f"({len(pair['patches']) - 1})")
    # Undo, and what cannot be told is not asked about again.
    viewer.page.keyboard.press("z")
    viewer.wait()
    assert viewer.seeds == seeded
    # To the end: the next press asks for others than these.
    for _ in range(len(pair["patches"])):
        if not viewer.evaluate("Boolean(SIC.app.card)"):
            viewer.page.keyboard.press("d")
        viewer.page.wait_for_function("SIC.app.card && !SIC.app.busy")
        if card_row(viewer) not in pair["patches"]:
            break
        viewer.page.keyboard.press("s")
        viewer.wait()
    assert not set(viewer.evaluate("SIC.app.opinion.pairs.flatMap((each) => each.patches)")) & set(
        pair["patches"]
    )


def test_answers_by_truth_and_a_run_leave_another_opinion(viewer):
    labelled(viewer)
    ask(viewer)
    truth, centres = truth_of(viewer), viewer.adata.obsm["spatial"]
    known = np.flatnonzero(truth >= 0)
    asked = []
    for _ in range(3):
        if not viewer.evaluate("SIC.app.card?.kind === 'opinion'"):
            break
        row = card_row(viewer)
        asked.append(row)
        nearest = known[np.linalg.norm(centres[known] - centres[row], axis=1).argmin()]
        viewer.page.keyboard.press(KEYS[int(truth[nearest])])
        viewer.wait()
    assert asked
    viewer.page.keyboard.press("Escape")
    viewer.run()
    assert viewer.page.locator(".sic-opinion-pair").count() == 0  # what was known is of other labels
    ask(viewer)
    assert not set(asked) & set(viewer.evaluate("SIC.app.opinion.pairs.flatMap((each) => each.patches)"))


def test_the_section_works_by_keyboard_and_at_150_per_cent_text(viewer):
    labelled(viewer)
    viewer.evaluate("document.documentElement.style.fontSize = '150%'")
    viewer.page.focus("#sic-opinion-ask")
    viewer.page.keyboard.press("Enter")
    viewer.page.wait_for_function("!SIC.app.busy && SIC.app.card?.kind === 'opinion'")
    viewer.page.keyboard.press("Escape")
    assert viewer.page.locator("#sic-card").count() == 0
    viewer.page.focus("#sic-opinion-0")
    viewer.page.keyboard.press("Enter")
    assert viewer.evaluate("SIC.app.card.kind") == "opinion"
    assert faults_of(viewer) == []
    viewer.keep_picture(ARTIFACTS, "second_opinion_large")
