"""What the viewer may ask of the server: the one table of endpoints, and how one is answered.

Requests and answers are plain values, so that the logic runs without Flask; `tissuumaps_sic.plugin` puts
it behind TissUUmaps' routes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tissuumaps_sic.annotation.lending import only_from
from tissuumaps_sic.viewer.access import Reach
from tissuumaps_sic.viewer.alike import find_alike, find_elsewhere, send_likeness, send_picture
from tissuumaps_sic.viewer.answers import Answer, Header
from tissuumaps_sic.viewer.cells import send_cells, send_lattice
from tissuumaps_sic.viewer.command_line import send_command
from tissuumaps_sic.viewer.documents import bring_document, send_document
from tissuumaps_sic.viewer.exports import export_labels, send_regions, write_into_h5ad
from tissuumaps_sic.viewer.history import send_history, send_restoring
from tissuumaps_sic.viewer.looks import keep_looked, send_looked, send_notes
from tissuumaps_sic.viewer.opened import Shared
from tissuumaps_sic.viewer.overview import list_slides, send_map
from tissuumaps_sic.viewer.quality import ask_questions, draw_sample, send_quality
from tissuumaps_sic.viewer.readers import compare_sessions, list_decisions, merge_sessions
from tissuumaps_sic.viewer.requests import (
    AlikeRequest,
    BringRequest,
    ChangeRequest,
    CommandRequest,
    CompareRequest,
    DrawRequest,
    ElsewhereRequest,
    ExportRequest,
    HistoryRequest,
    JobRequest,
    JudgeRequest,
    LikenessRequest,
    LookRequest,
    MergeRequest,
    OpenRequest,
    OpinionRequest,
    PictureRequest,
    PointRequest,
    PreviewRequest,
    QuestionsRequest,
    RequestError,
    RunRequest,
    ScoresRequest,
    SeenRequest,
    SuggestRequest,
    UnlikeRequest,
    VerifyRequest,
    WhyRequest,
    parse_request,
)
from tissuumaps_sic.viewer.runs import run_clustering, send_labels, send_scores
from tissuumaps_sic.viewer.seed_files import preview_seeds
from tissuumaps_sic.viewer.sessions import change_session, offer_classes, open_session
from tissuumaps_sic.viewer.suggestions import (
    ask_opinion,
    explain_patch,
    judge_seeds,
    mark_unlike,
    suggest_patches,
)

log = logging.getLogger(__name__)


def send_progress(shared: Shared, reach: Reach, request: JobRequest) -> Header:
    """Return how far a request is: its ``stage`` in words and its ``share``, both None when not known."""
    stage, share = shared.turns.jobs.progress(reach.h5ad, request.job) or (None, None)
    return {"stage": stage, "share": share}


def cancel_job(shared: Shared, reach: Reach, request: JobRequest) -> Header:
    """Stop a request of the same slide, one that comes yet included; ``running`` tells whether it ran."""
    return {"running": shared.turns.jobs.cancel(reach.h5ad, request.job)}


@dataclass(frozen=True)
class Endpoint:
    """What pages may ask for by one name.

    Attributes
    ----------
    answer : callable
        Takes what all pages share, what the request may reach, and the request as its model has it.
    request : type
        The model.
    writes : bool
        Whether it is refused by a server that is read-only.
    """

    answer: Callable[[Shared, Reach, Any], Answer]
    request: type[OpenRequest]
    writes: bool = False


ENDPOINTS = {
    "open": Endpoint(open_session, OpenRequest),
    "change": Endpoint(change_session, ChangeRequest, writes=True),
    "offer": Endpoint(offer_classes, SeenRequest, writes=True),
    "document": Endpoint(send_document, SeenRequest),
    "bring": Endpoint(bring_document, BringRequest, writes=True),
    # It changes nothing; where nothing may be changed nobody needs to know.
    "preview": Endpoint(preview_seeds, PreviewRequest, writes=True),
    "history": Endpoint(send_history, HistoryRequest),
    "restoring": Endpoint(send_restoring, PointRequest),
    "run": Endpoint(run_clustering, RunRequest, writes=True),
    "labels": Endpoint(send_labels, OpenRequest),
    "scores": Endpoint(send_scores, ScoresRequest),
    "lattice": Endpoint(send_lattice, OpenRequest),
    "cells": Endpoint(send_cells, ScoresRequest),
    "suggest": Endpoint(suggest_patches, SuggestRequest),
    "judge": Endpoint(judge_seeds, JudgeRequest),
    "opinion": Endpoint(ask_opinion, OpinionRequest),
    "why": Endpoint(explain_patch, WhyRequest),
    "alike": Endpoint(find_alike, AlikeRequest),
    "unlike": Endpoint(mark_unlike, UnlikeRequest),
    "draw": Endpoint(draw_sample, DrawRequest, writes=True),
    "questions": Endpoint(ask_questions, QuestionsRequest),
    "verify": Endpoint(send_quality, VerifyRequest),
    "compare": Endpoint(compare_sessions, CompareRequest),
    "merge": Endpoint(merge_sessions, MergeRequest, writes=True),
    "decisions": Endpoint(list_decisions, SeenRequest),
    "regions": Endpoint(send_regions, SeenRequest),
    "export": Endpoint(export_labels, ExportRequest),
    "command": Endpoint(send_command, CommandRequest),
    "write": Endpoint(write_into_h5ad, SeenRequest, writes=True),
    "notes": Endpoint(send_notes, OpenRequest),
    "looked": Endpoint(send_looked, OpenRequest),
    "look": Endpoint(keep_looked, LookRequest, writes=True),
    "map": Endpoint(send_map, OpenRequest),
    "worklist": Endpoint(list_slides, OpenRequest),
    "progress": Endpoint(send_progress, JobRequest),
    "cancel": Endpoint(cancel_job, JobRequest),
    "likeness": Endpoint(send_likeness, LikenessRequest),
    "elsewhere": Endpoint(find_elsewhere, ElsewhereRequest),
    "picture": Endpoint(send_picture, PictureRequest),
}


class Server:
    """What answers the pages of one server; safe to call from many threads."""

    def __init__(self) -> None:
        self._shared = Shared()

    def ask(self, name: str, reach: Reach, content: Any) -> Answer:
        """Answer a request.

        Parameters
        ----------
        name : str
            A key of `ENDPOINTS`.
        reach : Reach
            What it may read.
        content : Any
            The request's JSON.

        Returns
        -------
        Answer

        Raises
        ------
        SicError
            When it cannot be served; its `status` is the HTTP status, the message for the person at the page.
        """
        endpoint = ENDPOINTS[name]
        try:
            # What a session names is read only where the same password opens it.
            with only_from(reach.admits):
                return endpoint.answer(self._shared, reach, parse_request(endpoint.request, content))
        except (OSError, MemoryError) as error:
            # Told in words, but where it happened only the log can tell.
            log.warning("%s failed", name, exc_info=True)
            raise RequestError(507, _describe(error)) from error


def _describe(error: OSError | MemoryError) -> str:
    if isinstance(error, MemoryError):
        return "there is too little memory for this; close other programs"
    name = Path(str(error.filename)).name if error.filename else "a file"
    return (
        f"{name} could not be read or written ({error.strerror or error}); free some space, or see to its "
        "rights"
    )
