"""A page that overstays: once it is due a lesser one is made beside it, and what is ready first is the answer.

Nothing interrupts a part that has begun. The page that comes second is thrown away: it is not written down, and spends
nothing.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from threading import Lock
from typing import TypeVar

from ranking.request.ladder import AnsweredError
from serving.clock import elapsed_ms
from serving.errors import OverloadedError

Made = TypeVar("Made")
Claim = Callable[[], bool]
"""True for the first who asks: one of several pages is the answer."""


class Guard:
    """Threads that make pages, and one that makes lesser ones where those overstay.

    Parameters
    ----------
    threads : int
    """

    def __init__(self, threads: int) -> None:
        self._pages = ThreadPoolExecutor(threads, "page")
        self._lesser = ThreadPoolExecutor(1, "lesser page")

    async def first(
        self, make: Callable[[Claim], Made], lesser: Callable[[Claim], Made] | None, due_ms: float, last_ms: float
    ) -> Made:
        """What is made in a thread, or the lesser one that is begun where it is not there when it is due.

        Parameters
        ----------
        make, lesser : callable
            Given what claims to be the answer; raises ``AnsweredError`` where another was quicker. Without a lesser
            one the first is waited for until the last moment.
        due_ms, last_ms : float
            By ``elapsed_ms``: when the lesser one is begun, and when neither is waited for any more.

        Raises
        ------
        OverloadedError
            If the page had not begun when it was due, or neither was there in the end.
        """
        claim: Claim = partial(Lock().acquire, blocking=False)
        begun = self._pages.submit(copy_context().run, make, claim)
        page = _awaited(begun)
        if (await asyncio.wait((page,), timeout=_left_s(due_ms)))[0]:
            return page.result()
        if begun.cancel():
            raise OverloadedError("No thread was free until this request was due.", "Come again later.")
        pages = {page} if lesser is None else {page, _awaited(self._lesser.submit(copy_context().run, lesser, claim))}
        return await _answer(pages, claim, last_ms)


async def _answer(pages: set[asyncio.Future[Made]], claim: Claim, last_ms: float) -> Made:
    """The one that is the answer: there by the last moment, or claimed to be it by then and nearly there."""
    is_claimed = False
    while True:
        done, pages = await asyncio.wait(
            pages, timeout=None if is_claimed else _left_s(last_ms), return_when=asyncio.FIRST_COMPLETED
        )
        for page in done:
            if not isinstance(page.exception(), AnsweredError):
                return page.result()
        if not done:
            is_claimed = not claim()
            if not is_claimed:
                for page in pages:
                    page.cancel()
                raise OverloadedError("A part of the page took longer than its deadline_ms allows.", "Ask again.")


def _awaited(begun: "Future[Made]") -> asyncio.Future[Made]:
    """A page that may be waited for; one that nobody waits for any more fails without a word."""
    page = asyncio.wrap_future(begun)
    page.add_done_callback(lambda one: one.cancelled() or one.exception())
    return page


def _left_s(moment_ms: float) -> float:
    return max((moment_ms - elapsed_ms()) / 1e3, 0.0)
