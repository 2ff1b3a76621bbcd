"""Tells when the event loop stands still, and where every thread is meanwhile: what holds up pages names itself."""

import asyncio
import logging
import sys
import threading
from collections.abc import Callable
from types import FrameType

from serving.clock import elapsed_ms
from serving.watch import Watch

BEAT_S = 0.05
"""How often the loop says that it goes on, and how often it is looked whether it did."""
LONG_MS = 200.0
"""A loop that has said nothing for so long stands still: no page may take as long."""
FRAMES = 4
"""How many calls of a thread are told, the innermost first."""

_log = logging.getLogger(__name__)


class Stalls(Watch):
    """Measures how late the event loop comes to what is due, and tells in the log when it stands still, once each time.

    What holds the interpreter cannot be looked at: such a stall is measured, and told with where threads are after it.

    Parameters
    ----------
    late : callable
        Told after each beat by how many seconds it came late.
    """

    def __init__(self, late: Callable[[float], None]) -> None:
        super().__init__("stalls", BEAT_S)
        self._late = late
        self._beat_ms = self._told_ms = 0.0
        self._next: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin, in the thread of the loop; returns at once."""
        self._beat_ms = elapsed_ms()
        self._next = asyncio.get_running_loop().call_later(BEAT_S, self._beat)
        super().start()

    def stop(self) -> None:
        """Return when no look is under way any more, and none will be."""
        if self._next is not None:
            self._next.cancel()
        super().stop()

    def _beat(self) -> None:
        now_ms = elapsed_ms()
        self._late(max(now_ms - self._beat_ms - 1e3 * BEAT_S, 0.0) / 1e3)
        self._beat_ms = now_ms
        self._next = asyncio.get_running_loop().call_later(BEAT_S, self._beat)

    def _look(self) -> None:
        beat_ms = self._beat_ms
        still_ms = elapsed_ms() - beat_ms
        if still_ms > LONG_MS and beat_ms != self._told_ms:
            self._told_ms = beat_ms
            _log.warning("The event loop has stood still for %.0f ms; %s", still_ms, whereabouts())


def whereabouts() -> str:
    """Where each thread is but the one that asks: its name, and its innermost calls by file, line and function."""
    frames, mine = sys._current_frames(), threading.get_ident()
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return "; ".join(f"{names.get(ident, 'a thread')}: {_calls(top)}" for ident, top in frames.items() if ident != mine)


def _calls(top: FrameType | None) -> str:
    calls = list[str]()
    while top is not None and len(calls) < FRAMES:
        code = top.f_code
        calls.append(f"{code.co_name} ({'/'.join(code.co_filename.split('/')[-2:])}:{top.f_lineno})")
        top = top.f_back
    return " < ".join(calls)
