"""What is served next: a bundle or a policy that takes the place of another, while pages are asked for and answered."""

import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from time import sleep

from ranking.api import Coming, Stage
from ranking.bundles.bundle import Bundle
from ranking.mixing.leases import Ledger
from ranking.policy import Policy
from ranking.request.answers import Answers, Shared
from ranking.request.generation import Generation
from ranking.request.journal import Journal
from ranking.request.making import warm, warming
from ranking.succession.successor import Maker

STEP = 500
"""Items that are taken in while appends wait."""
REST_S = 0.001
"""Between two steps, so that who waits to append comes first."""
LOOK_S = 0.02
"""How often it is looked whether lists are trained."""


class Succession:
    """Changes what answers, one bundle at a time; a policy comes between.

    Parameters
    ----------
    shared : Shared
        What answers now.
    answers : Answers
    journal : Journal
    ledger : Ledger
    maker : Maker

    Attributes
    ----------
    bundle_since_ms, policy_since_ms : int
        When the bundle and the policy were taken up, 0 for those that the engine was opened with.
    bundle_ready_ms : int
        How long the bundle was made ready before.
    coming : Coming or None
        The bundle that is made ready now.
    """

    def __init__(self, shared: Shared, answers: Answers, journal: Journal, ledger: Ledger, maker: Maker) -> None:
        self._shared, self._answers, self._journal = shared, answers, journal
        self._ledger, self._maker = ledger, maker
        self._changing, self._closed = threading.Lock(), threading.Event()
        self.bundle_since_ms = self.policy_since_ms = self.bundle_ready_ms = 0
        self.coming: Coming | None = None

    def warm(self, now_ms: int) -> None:
        """Fold and index, make some pages that nobody asked for, and the lists that pages in a hurry are made of."""
        with self._journal.writing:
            with self._shared.mutex:
                self._shared.generation.rehearse()
            warm(self._shared.generation, now_ms, self._ledger)
        self._answers.refresh(now_ms)

    def take_up(self, bundle: Bundle, now_ms: Callable[[], int], is_wanted: Callable[[], bool]) -> bool:
        """Serve another bundle once it is ready, its lists trained; whether it came to that, or was given up.

        A state of the same layout goes on, its vectors and indexes made anew in short steps, and what is appended
        between them told to both; for another layout the log is folded beside what is served.
        """
        with self._changing:
            since_ms, made = now_ms(), None

            def look(stage: Stage) -> None:
                self.coming = Coming(bundle=bundle.version, since_ms=since_ms, stage=stage)
                if self._closed.is_set() or not is_wanted():
                    raise _UnwantedError

            try:
                look("log")
                made = self._begun(bundle)
                self._ready(made, now_ms, look)
                before = self._switched(made, now_ms)
            except BaseException as error:
                with self._journal.writing:
                    self._shared.generation.bequeath(None)
                if made is not None:
                    made.close()
                if isinstance(error, _UnwantedError):
                    return False
                raise
            finally:
                self.coming = None
            self.bundle_ready_ms = self.bundle_since_ms - since_ms
            before.close()
            return True

    def go_by(self, policy: Policy, now_ms: Callable[[], int]) -> None:
        """Serve under another policy from now on, and so does a bundle that is made ready meanwhile."""
        with self._journal.writing:
            made = self._maker.under(self._shared.generation, policy)
            with self._shared.mutex:
                self._answers.change(made)
                self.policy_since_ms = now_ms()

    def close(self) -> None:
        """Give up the bundle that is made ready, and those that come after it; none is when this returns."""
        self._closed.set()
        with self._changing:
            pass

    def _begun(self, bundle: Bundle) -> Generation:
        """A generation that has taken in no item yet; of the state that is served, where that is of its layout."""
        state, policy = self._shared.generation.state, self._shared.generation.policy
        if bundle.feature_set.layout != state.layout:
            return self._maker.anew(bundle, policy, whole=False)
        ranker = self._maker.ranker(bundle, state)
        with self._journal.writing:
            before = self._shared.generation
            made = self._maker.beside(before, bundle, ranker)
            before.bequeath(made)
        return made

    def _ready(self, made: Generation, now_ms: Callable[[], int], look: Callable[[Stage], None]) -> None:
        """Have it take in all items, train its lists, and make first pages; ``look`` comes between."""
        shares = made.state is self._shared.generation.state
        appends_wait = self._journal.writing if shares else nullcontext()

        def step_by_step(stage: Stage, work: Iterator[None]) -> None:
            goes_on = True
            while goes_on:
                look(stage)
                with appends_wait:
                    goes_on = next(work, work) is None
                sleep(REST_S)

        step_by_step("items", made.take_in(STEP))
        while made.is_training:
            look("lists")
            if not shares:
                self._maker.catch_up(made)
            sleep(LOOK_S)
        if not shares:
            self._maker.catch_up(made)
        step_by_step("pages", warming(made, now_ms(), self._ledger))

    def _switched(self, made: Generation, now_ms: Callable[[], int]) -> Generation:
        """Have it answer from now on, under the policy that is in force by now; returns the one before."""
        with self._journal.writing:
            before = self._shared.generation
            if made.state is not before.state:
                self._maker.catch_up(made)
            if made.policy is not before.policy:
                made = self._maker.under(made, before.policy)
            with self._shared.mutex:
                self._answers.change(made)
                self.bundle_since_ms = now_ms()
        return before


class _UnwantedError(Exception):
    """The bundle that is made ready is wanted no more."""
