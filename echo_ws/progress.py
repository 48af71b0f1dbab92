"""What takes a while says so on stderr: one line a phase, with a spinner where somebody watches."""

import itertools
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
FRAME_S = 0.08
CLEAR = "\r\x1b[K"


@contextmanager
def phase(text: str) -> Iterator[None]:
    if not sys.stderr.isatty():
        _say(f"{text}\n")
        yield
        return
    began, done = time.monotonic(), threading.Event()
    spinner = threading.Thread(target=_spin, args=(text, done), daemon=True)
    spinner.start()
    mark = "✗"
    try:
        yield
        mark = "✓"
    finally:
        done.set()
        spinner.join()
        _say(f"{CLEAR}{mark} {text} ({time.monotonic() - began:.1f} s)\n")


def _spin(text: str, done: threading.Event) -> None:
    for frame in itertools.cycle(FRAMES):
        _say(f"{CLEAR}{frame} {text}")
        if done.wait(FRAME_S):
            return


def _say(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
