"""Where pages wait for their turn, and where those are turned away that would wait too long."""

import asyncio
import math
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from ranking.ladder import Budget
from serving.clock import elapsed_ms
from serving.errors import OverloadedError
from serving.guard import Claim, Guard

USED = 0.8
"""The share of a deadline that waiting and computing may use: the rest is for the way in and out."""
WAITED = 0.7
"""The share that waiting may use: what has not begun by then is turned away, while the answer still comes in time."""
OF_MEAN = 1 / 16
LAST = 0.9
"""The share by which an answer goes out that names why there is no page."""

Made = TypeVar("Made")


class Lane:
    """Pages in the order they came: in the event loop, one between two looks at the sockets, or in several threads.

    In the loop no page follows another at once: what arrived meanwhile is read first, so that its time runs from then.
    A thread more costs a hand-over, and gains what pages spend outside of Python; docs/adr/008-http.md has figures.
    Only threads can be overtaken: where a part of a page overstays, a lesser page answers in time (``serving.guard``).

    Parameters
    ----------
    threads : int
        One is the loop itself.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._guard = Guard(threads) if threads > 1 else None
        self._turns: deque[asyncio.Future[None]] = deque()
        self._busy = False
        self._took_ms = 0.0
        self.waiting = 0

    async def compute(self, deadline_ms: float, compute: Callable[[Budget], Made]) -> Made:
        """What a function makes of the time that is left once its turn has come.

        Raises
        ------
        OverloadedError
            If it would wait, or has waited, longer than its deadline allows; or if a part of it did not end in time.
        """
        come_ms = elapsed_ms()
        begin_ms, due_ms = come_ms + WAITED * deadline_ms, come_ms + USED * deadline_ms
        wait_ms = self.waiting * self._took_ms / self._threads
        if self.waiting and wait_ms > WAITED * deadline_ms:
            raise _overloaded(wait_ms)
        self.waiting += 1
        try:
            if self._guard:
                make = partial(self._timed, begin_ms, due_ms, compute)
                lesser = partial(with_no_time, compute)
                return await self._guard.first(make, lesser, due_ms, come_ms + LAST * deadline_ms)
            await self._turn()
            try:
                return self._timed(begin_ms, due_ms, compute)
            finally:
                asyncio.get_running_loop().call_soon(self._next)
        finally:
            self.waiting -= 1

    def _timed(
        self, begin_ms: float, due_ms: float, compute: Callable[[Budget], Made], claim: Claim | None = None
    ) -> Made:
        begun = elapsed_ms()
        if begun >= begin_ms:
            raise _overloaded(self.waiting * self._took_ms / self._threads)
        try:
            return compute(Budget(lambda: due_ms - elapsed_ms(), claim))
        finally:
            self._took_ms += OF_MEAN * (elapsed_ms() - begun - self._took_ms)

    async def _turn(self) -> None:
        if self._busy:
            turn = asyncio.get_running_loop().create_future()
            self._turns.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._next()
                raise
        self._busy = True

    def _next(self) -> None:
        while self._turns:
            turn = self._turns.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._busy = False


def with_no_time(compute: Callable[[Budget], Made], claim: Claim) -> Made:
    """What a function makes where its time is over: a page of the last rung."""
    over_ms = elapsed_ms() - 1.0
    return compute(Budget(lambda: over_ms - elapsed_ms(), claim))


def _overloaded(wait_ms: float) -> OverloadedError:
    what = f"{wait_ms:.0f} ms of work wait before this request, more than its deadline_ms allows."
    return OverloadedError(what, "Come again later, or allow it more time.", max(1, math.ceil(wait_ms / 1e3)))
