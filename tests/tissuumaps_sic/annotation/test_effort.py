"""What annotating took, by a session's own times."""

from datetime import UTC, datetime, timedelta

import pytest

from tissuumaps_sic.annotation import actions
from tissuumaps_sic.annotation.effort import measure_effort, tell_effort
from tissuumaps_sic.annotation.session import Session

START = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)


def session_of(*steps):
    """A session of seed actions: seconds, reader, label, patches."""
    made = [
        actions.SeedAction(
            time=(START + timedelta(seconds=seconds)).isoformat(timespec="seconds"),
            user=user,
            label=label,
            patches=list(patches),
        )
        for seconds, user, label, patches in steps
    ]
    return Session(slide="a", fingerprint="f", actions=tuple(made), position=len(made))


def test_clicks_patches_and_corrections_are_counted_by_reader():
    session = session_of(
        (0, "Anna", 0, "a"),
        (10, "Anna", 1, "bcd"),
        (20, "Anna", 1, "a"),  # another class
        (25, "Anna", 1, "b"),  # the same again: corrects nothing
        (30, "Ben", None, "cd"),  # takes two back
        (40, "Ben", 0, "e"),
    )
    anna, ben = measure_effort(session)
    assert (anna.reader, anna.clicks, anna.patches, anna.corrections) == ("Anna", 4, 6, 1)
    assert (ben.reader, ben.clicks, ben.patches, ben.corrections) == ("Ben", 2, 3, 1)
    assert (anna.seconds, ben.seconds) == (25, 10)
    assert (anna.first, anna.last) == ("2026-11-02T09:00:00+00:00", "2026-11-02T09:00:25+00:00")


def test_pauses_of_more_than_two_minutes_are_no_work():
    session = session_of((0, "", 0, "a"), (120, "", 1, "b"), (241, "", 1, "c"), (250, "", 0, "d"))
    assert measure_effort(session)[0].minutes == pytest.approx((120 + 9) / 60)


def test_what_was_undone_was_work_and_is_a_correction():
    session = session_of((0, "", 0, "a"), (10, "", 1, "b")).undo()
    assert (measure_effort(session)[0].clicks, measure_effort(session)[0].corrections) == (2, 1)
    # Gone on otherwise: the step that was undone stays, on a branch.
    session = session.seed(["c"], 1)
    found = measure_effort(session)[0]
    assert (found.clicks, found.patches, found.corrections) == (3, 3, 1)


def test_removing_everything_is_a_correction_where_there_was_something():
    session = session_of((0, "", 0, "a"))
    assert sum(each.corrections for each in measure_effort(session.clear())) == 1


def test_a_time_that_is_none_is_a_pause():
    session = session_of((0, "", 0, "a"), (30, "", 1, "b"))
    odd = session.actions[0].model_copy(update={"time": "yesterday"})
    session = Session(slide="a", fingerprint="f", actions=(odd, *session.actions[1:]), position=2)
    assert measure_effort(session)[0].seconds == 0


def test_it_is_told_for_people():
    assert tell_effort(()) == ""
    assert tell_effort(measure_effort(session_of((0, "", 0, "a")))) == (
        "1 click, of which 0 corrected something; a minute or less of work"
    )
    many = session_of(*((60 * number, "", number % 2, "a") for number in range(11)))
    assert tell_effort(measure_effort(many)) == (
        "11 clicks, of which 10 corrected something; 10 minutes of work"
    )
