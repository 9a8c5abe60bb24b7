"""Saying what goes on while a person waits: each step as it is done, and every few seconds what is awaited."""

from __future__ import annotations

import sys
import threading
import time

_BEAT_SECONDS = 5.0


class Progress:
    """What is done is a line; what is awaited is said again every few seconds, with its time and how far it is.

    A context manager: outside of it, and when ``quiet``, nothing is said. Goes to standard error.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._began = time.monotonic()
        self._awaited: str | None = None
        self._far = ""
        self._since = self._said = self._began
        self._lock = threading.Lock()
        self._over = threading.Event()

    def __enter__(self) -> Progress:
        if not self._quiet:
            self._beats = threading.Thread(target=self._beat, daemon=True)
            self._beats.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if not self._quiet:
            self._beats.join()

    def say(self, sentence: str) -> None:
        """Something is done."""
        with self._lock:
            self._print(sentence)

    def wait(self, sentence: str) -> None:
        """From now on ``sentence`` is what is waited for."""
        with self._lock:
            self._awaited, self._far, self._since = sentence, "", time.monotonic()
            self._print(f"{sentence} ...")

    def far(self, sentence: str) -> None:
        """How far it is."""
        with self._lock:
            self._far = sentence

    def _beat(self) -> None:
        while not self._over.wait(0.5):
            with self._lock:
                now = time.monotonic()
                if self._awaited is not None and now - self._said >= _BEAT_SECONDS:
                    far = f", {self._far}" if self._far else ""
                    self._print(f"  {self._awaited}: {now - self._since:.0f} s{far}")

    def _print(self, sentence: str) -> None:
        self._said = time.monotonic()
        if not self._quiet and not self._over.is_set():
            print(f"{self._said - self._began:6.1f} s  {sentence}", file=sys.stderr, flush=True)


class Patience:
    """How long to wait for something that may stand still: it is over ``seconds`` after the last thing that moved."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._seen: object = None
        self.moved()

    def moved(self) -> None:
        self._at = time.monotonic()

    def look(self, state: object) -> None:
        """It has moved if ``state`` is another than at the last look."""
        if state != self._seen:
            self._seen = state
            self.moved()

    @property
    def over(self) -> bool:
        return time.monotonic() - self._at > self._seconds
