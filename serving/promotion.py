"""A promoted bundle is served within seconds: the pointer is watched, and what it points at taken up beside serving."""

import logging
from collections.abc import Callable
from pathlib import Path

import msgspec

from features.errors import HuozhaoError
from ranking.bundles.bundle import load
from ranking.bundles.pointer import current
from ranking.engine import Engine
from serving.watch import Watch

WATCH_EVERY_S = 1.0
FILE = "promotion.json"
"""Where a home tells of the promotion that its server followed last, as long as that runs; for `huozhao models`."""

_log = logging.getLogger(__name__)


class Following(msgspec.Struct, frozen=True, kw_only=True):
    """A promotion that a server follows: when it was made and seen, and when it was served, 0 until then."""

    bundle: str
    promoted_ms: int
    seen_ms: int
    served_ms: int = 0


class Promotions(Watch):
    """Takes up what the pointer of a home names, in a thread of its own.

    A bundle is made ready beside serving, which takes as long as its lists are trained. Where the pointer turns
    meanwhile it is given up for the next.

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
        self._file = engine.home / FILE
        self._file.unlink(missing_ok=True)
        self._fault = ""

    def stop(self) -> None:
        """Return when nothing is made ready any more; what was is given up."""
        super().stop()
        self._file.unlink(missing_ok=True)

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
        before, self._seen = self._seen, place.name
        promoted_ms = int(1000 * (self._bundles / "current.json").stat().st_mtime)
        follows = Following(bundle=place.name, promoted_ms=promoted_ms, seen_ms=self._now_ms())
        self._tell(follows)
        try:
            is_served = self._engine.take_up(load(place), self._now_ms, lambda: self._is_wanted(place.name))
        except BaseException:
            self._file.unlink(missing_ok=True)
            raise
        # Warnings, so that they are seen where nobody chose what is logged.
        if not is_served:
            self._seen = before
            self._file.unlink(missing_ok=True)
            _log.warning("Bundle %s is not served: it was promoted no more, or the server ends", place.name)
            return
        now_ms = self._now_ms()
        self._tell(msgspec.structs.replace(follows, served_ms=now_ms))
        after_s, ready_s = (now_ms - promoted_ms) / 1000, (now_ms - follows.seen_ms) / 1000
        told = "Bundle %s is served %.2f s after its promotion; it was made ready, its lists trained, in %.2f s"
        _log.warning(told, place.name, after_s, ready_s)

    def _is_wanted(self, version: str) -> bool:
        """Whether a bundle that is made ready is still to be served; it is where what is promoted cannot be read."""
        try:
            is_current = current(self._bundles).name == version
        except (HuozhaoError, OSError):
            is_current = True
        return is_current and not self._told_to_stop.is_set()

    def _tell(self, follows: Following) -> None:
        draft = self._file.with_name(f"{FILE}.draft")
        draft.write_bytes(msgspec.json.encode(follows))
        draft.rename(self._file)


def followed(home: Path) -> Following | None:
    """The promotion that the server of a home followed last; None where none runs, or it has followed none."""
    path = home / FILE
    return msgspec.json.decode(path.read_bytes(), type=Following) if path.is_file() else None
