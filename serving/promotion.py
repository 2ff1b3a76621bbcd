"""A promoted bundle is served within seconds: the pointer is watched, and what it points at taken up beside serving."""

import logging
from collections.abc import Callable
from pathlib import Path

from features.errors import HuozhaoError
from ranking.bundles.bundle import load
from ranking.bundles.pointer import current
from ranking.engine import Engine
from serving.watch import Watch

WATCH_EVERY_S = 1.0

_log = logging.getLogger(__name__)


class Promotions(Watch):
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
        super().__init__("promotions", every_s)
        self._engine = engine
        self._bundles = bundles
        self._now_ms = now_ms
        self._seen = engine.status(now_ms()).bundle
        self._fault = ""

    def _look(self) -> None:
        try:
            self._follow()
            self._fault = ""
        except (HuozhaoError, OSError) as error:
            # It stays until somebody mends it: told once, it is not told again each second.
            if str(error) != self._fault:
                _log.error("What is promoted cannot be served; the bundle before goes on: %s", error)
            self._fault = str(error)

    def _follow(self) -> None:
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
