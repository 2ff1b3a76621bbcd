"""Why a page was as it was: decided once more beside serving, one at a time, so that pages do not wait for it."""

import asyncio
import threading
from pathlib import Path
from typing import Annotated

from litestar import get
from litestar.di import NamedDependency
from litestar.exceptions import TooManyRequestsException
from litestar.params import Parameter

from features.errors import BundleError, RequestError
from ranking.bundles.versions import find
from ranking.engine import Engine
from ranking.replay.account import Account
from ranking.replay.re_decide import ANYWHERE, Reach, re_decide

NEAR = Reach(archived=False, records=1_000_000)
"""How far back a page is looked for unless asked: nothing that was archived, and so many records to fold at most."""
AGAIN_S = 5
"""What one is told to wait who asks while another page is looked into."""

PageId = Annotated[str, Parameter(min_length=1, max_length=128, description="A page by its request_id.")]
OtherBundle = Annotated[str, Parameter(max_length=64, description="A bundle that decides the same beside it.")]
Far = Annotated[bool, Parameter(description="Look into the archive too, and fold however many records it takes.")]


class Decisions:
    """Decides pages again from the files of a home, by a state of its own; one at a time.

    Parameters
    ----------
    home : Path
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._busy = threading.Lock()

    def account(self, request_id: str, bundle: str, *, far: bool) -> Account:
        """The account of a page.

        Raises
        ------
        TooManyRequestsException
            If another page is looked into.
        RequestError, MomentError, BundleError
            See ``re_decide``.
        """
        if not self._busy.acquire(blocking=False):
            wait = {"Retry-After": str(AGAIN_S)}
            raise TooManyRequestsException("Another page is looked into; ask again in some seconds.", headers=wait)
        try:
            return re_decide(self._home, request_id, self._version(bundle), reach=ANYWHERE if far else NEAR)
        finally:
            self._busy.release()

    def _version(self, bundle: str) -> str:
        """The version that a request means, which comes from outside: a name of none is the request's fault."""
        try:
            return find(self._home / "bundles", bundle) if bundle else ""
        except BundleError as error:
            raise RequestError(f"There is no bundle {bundle!r}.", "`huozhao models` lists them.") from error


@get(["/feeds/{page:str}", "/feeds"])
async def why(
    engine: NamedDependency[Engine],
    decisions: NamedDependency[Decisions],
    page: PageId,
    bundle: OtherBundle = "",
    far: Far = False,
) -> Account:
    """The decision of a page, made once more at its moment: every candidate, and whether the page comes out the same.

    A page that was not sampled is answered by what its record says. One at a time is looked into; what lies far back
    only with `far`.
    """

    def answer() -> Account:
        # A page may have been answered a moment ago: what waits for the log is written down first.
        engine.flush()
        return decisions.account(page, bundle, far=far)

    return await asyncio.to_thread(answer)
