"""What a child process is given for an encoder, and slides that kill: `child.PREPARATION`."""

import ctypes
import logging
import os
import sys
import time
import warnings

from making.embeddings import MeanEncoder

import embedder.embedding.encoding
import embedder.embedding.partial
import embedder.embedding.plan
import embedder.embedding.slide
from embedder.isolation import program


def prepare():
    """Put an encoder that is quick in place of the real one, and let slides of some names do harm."""
    encoder = MeanEncoder()
    embedder.embedding.encoding.load_encoder = lambda *args, **kwargs: encoder
    embedder.embedding.plan._MEASURED_SECONDS = 0.1
    opened, batches = embedder.embedding.slide.open_slide, embedder.embedding.encoding.iter_patches

    def open_or_die(path, **options):
        if path.name.startswith("abort"):
            abort("libdecoder: the tile is 3 TB large")
        return opened(path, **options)

    def batches_or_die(slide, grid, *, batch_size, start=0):
        for k, batch in enumerate(batches(slide, grid, batch_size=batch_size, start=start)):
            if k == 2 and slide.path.name.startswith("midway"):
                ctypes.string_at(0)
            yield batch

    embedder.embedding.slide.open_slide = embedder.embedding.plan.open_slide = open_or_die
    embedder.embedding.encoding.iter_patches = batches_or_die
    # What was done before a slide dies is kept, though it is done within seconds.
    embedder.embedding.partial._CHECKPOINT_SECONDS = 0


def abort(words):
    os.write(2, f"{words}\n".encode())
    os.abort()


def hang(stage="its tissue was looked for", limited=True):
    program.tell_stage(stage, limited=limited)
    time.sleep(1000)


def nap(seconds, limited):
    program.tell_stage("it slept", limited=limited)
    time.sleep(seconds)
    return seconds


def hang_for_all():
    """Sleep without letting any other thread run."""
    os.write(2, f"pid {os.getpid()}\n".encode())
    ctypes.PyDLL(None).sleep(1000)


def allocate():
    kept = []
    while True:
        kept.append(b"x" * 2**24)


def own_pid():
    return os.getpid()


def speak():
    logging.getLogger("embedder.test").info("an info of %d words", 5)
    logging.getLogger("elsewhere").warning("a warning of a library")
    warnings.warn("this is deprecated", stacklevel=1)
    print("printed by a library")
    os.write(2, b"written by C \xff\n")
    program.tell_progress(3, 4)
    return b"x" * 10**7


class OddError(Exception):
    """Cannot be sent."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def fail(kind):
    if kind == "odd":
        raise OddError("a", "b")
    if kind == "file":
        raise FileNotFoundError(2, "No such file or directory", "a.svs")
    raise ModuleNotFoundError("No module named 'torch'", name="torch")


def answer_signals():
    """Tell whether Ctrl-C and SIGTERM, sent to the child itself, leave it alone."""
    for number in (2, 15):
        os.kill(os.getpid(), number)
    time.sleep(0.1)
    return sys.stdin.read()


def hide_torch():
    """Let it be as where torch is not installed."""
    sys.modules["torch"] = None
