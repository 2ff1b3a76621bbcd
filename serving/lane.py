"""Where pages wait for their turn, and where those are turned away that would wait too long."""

import asyncio
import math
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from ranking.request.ladder import Budget
from serving.clock import elapsed_ms
from serving.errors import OverloadedError
from serving.guard import Claim, Guard

USED = 0.8
"""The share of a deadline that waiting and computing may use: the rest is for the way in and out."""
WAITED = 0.7
"""The share that waiting may use: what has not begun by then is turned away, while the answer still comes in time."""
FULL_AT_ONCE = 2
"""So many pages follow at once while the lane is full. Who comes meanwhile is turned away whenever they are read, and
reading takes what pages need out of the processor's caches."""
OF_MEAN = 1 / 16
LAST = 0.9
"""The share by which an answer goes out that names why there is no page."""

Made = TypeVar("Made")


class Lane:
    """Pages in the order they came: in the event loop, one between two looks at the sockets, or in several threads.

    In the loop no page follows another at once, unless the lane is full: what arrived meanwhile is read first, so that
    its time runs from then.
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
        self._busy = self._is_full = False
        self._begun = 0
        self._took_ms = self._between_ms = self._ended_ms = 0.0
        self._coming = 0
        self.waiting = 0

    def too_long(self, deadline_ms: float) -> float:
        """How many milliseconds of work wait, where a request of a deadline could not wait for them; else 0."""
        wait_ms = self._wait_ms()
        if wait_ms <= WAITED * deadline_ms:
            return 0.0
        self._is_full = True
        return wait_ms

    def expect(self) -> None:
        """Count a request that was read, and asks for its turn before more are read: several may come at once."""
        if not self._coming:
            asyncio.get_running_loop().call_soon(self._come)
        self._coming += 1

    async def compute(self, deadline_ms: float, compute: Callable[[Budget], Made], *, has_rungs: bool = True) -> Made:
        """What a function makes of the time that is left once its turn has come.

        Parameters
        ----------
        deadline_ms : float
        compute : callable
        has_rungs : bool
            Whether it makes something less in less time; what does not is not begun again where it overstays.

        Raises
        ------
        OverloadedError
            If it would wait, or has waited, longer than its deadline allows; or if a part of it did not end in time.
        """
        come_ms = elapsed_ms()
        begin_ms, due_ms = come_ms + WAITED * deadline_ms, come_ms + USED * deadline_ms
        if wait_ms := self.too_long(deadline_ms):
            raise overloaded(wait_ms)
        self.waiting += 1
        try:
            if self._guard:
                make = partial(self._timed, begin_ms, due_ms, compute)
                lesser = partial(with_no_time, compute) if has_rungs else None
                return await self._guard.first(make, lesser, due_ms, come_ms + LAST * deadline_ms)
            if await self._turn():
                self._between_ms += OF_MEAN * (elapsed_ms() - self._ended_ms - self._between_ms)
            try:
                return self._timed(begin_ms, due_ms, compute)
            finally:
                self._ended_ms = elapsed_ms()
                self._end()
        finally:
            self.waiting -= 1

    def _timed(
        self, begin_ms: float, due_ms: float, compute: Callable[[Budget], Made], claim: Claim | None = None
    ) -> Made:
        begun = elapsed_ms()
        if begun >= begin_ms:
            raise overloaded(self._wait_ms())
        try:
            return compute(Budget(lambda: due_ms - elapsed_ms(), claim))
        finally:
            self._took_ms += OF_MEAN * (elapsed_ms() - begun - self._took_ms)

    def _wait_ms(self) -> float:
        return (self.waiting + self._coming) * (self._took_ms + self._between_ms) / self._threads

    def _come(self) -> None:
        self._coming = 0

    async def _turn(self) -> bool:
        """Whether it was handed over by the page before."""
        is_handed_over = self._busy
        if is_handed_over:
            turn = asyncio.get_running_loop().create_future()
            self._turns.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._end()
                raise
        else:
            self._busy, self._begun = True, 1
        return is_handed_over

    def _end(self) -> None:
        self._begun -= 1
        if not self._begun:
            asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        """Let the next go, and some at once where somebody was turned away since the last time."""
        most, self._is_full = FULL_AT_ONCE if self._is_full else 1, False
        while self._turns and self._begun < most:
            turn = self._turns.popleft()
            if not turn.done():
                turn.set_result(None)
                self._begun += 1
        self._busy = self._begun > 0


def with_no_time(compute: Callable[[Budget], Made], claim: Claim) -> Made:
    """What a function makes where its time is over: a page of the last rung."""
    over_ms = elapsed_ms() - 1.0
    return compute(Budget(lambda: over_ms - elapsed_ms(), claim))


def overloaded(wait_ms: float) -> OverloadedError:
    """What a request is told that would wait so long."""
    what = f"{wait_ms:.0f} ms of work wait before this request, more than its deadline_ms allows."
    return OverloadedError(what, "Come again later, or allow it more time.", max(1, math.ceil(wait_ms / 1e3)))
