"""A promoted bundle is served within seconds: the pointer is watched, and what it points at taken up beside serving."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from features.errors import HuozhaoError
from ranking.bundle import current, load
from ranking.engine import Engine

WATCH_EVERY_S = 1.0

_log = logging.getLogger(__name__)


class Promotions:
    """Takes up what the pointer of a home names, in a thread of its own.

    A bundle that cannot be read leaves the running one in place; it is told once, and tried again when the pointer
    turns.

    Parameters
    ----------
    engine : Engine
    bundles : Path
        The folder of bundles.
    now_ms : callable
        The clock.
    every_s : float
        How often the pointer is looked at.
    """

    def __init__(
        self, engine: Engine, bundles: Path, now_ms: Callable[[], int], every_s: float = WATCH_EVERY_S
    ) -> None:
        self._engine = engine
        self._bundles = bundles
        self._now_ms = now_ms
        self._every_s = every_s
        self._seen = engine.status(now_ms()).bundle
        self._told_to_stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="promotions")

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """Return when nothing is taken up any more."""
        self._told_to_stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._told_to_stop.wait(self._every_s):
            try:
                self._look()
            except (HuozhaoError, OSError):
                _log.exception("The promoted bundle %s cannot be served; the one before goes on", self._seen)

    def _look(self) -> None:
        place = current(self._bundles)
        if place.name == self._seen:
            return
        self._seen, seen_ms = place.name, self._now_ms()
        promoted_s = (self._bundles / "current.json").stat().st_mtime
        self._engine.take_up(load(place), self._now_ms)
        now_ms = self._now_ms()
        after_s, taken_s = now_ms / 1000 - promoted_s, (now_ms - seen_ms) / 1000
        # A warning, so that it is seen where nobody chose what is logged.
        told = "Bundle %s is served %.2f s after its promotion; taking it up took %.2f s"
        _log.warning(told, place.name, after_s, taken_s)
