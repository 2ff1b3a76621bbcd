"""What is served next: a bundle or a policy that takes the place of another, while pages are asked for and answered."""

import threading
from collections.abc import Callable

from ranking.bundles.bundle import Bundle
from ranking.mixing.leases import Ledger
from ranking.policy import Policy
from ranking.request.answers import Answers, Shared
from ranking.request.journal import Journal
from ranking.request.making import warm, warming
from ranking.succession.successor import Maker


class Succession:
    """Changes what answers, one change at a time.

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
    """

    def __init__(self, shared: Shared, answers: Answers, journal: Journal, ledger: Ledger, maker: Maker) -> None:
        self._shared, self._answers, self._journal = shared, answers, journal
        self._ledger, self._maker = ledger, maker
        self._changing = threading.Lock()
        self.bundle_since_ms = self.policy_since_ms = 0

    def warm(self, now_ms: int) -> None:
        """Fold and index, make some pages that nobody asked for, and the lists that pages in a hurry are made of."""
        with self._journal.writing:
            with self._shared.mutex:
                self._shared.generation.rehearse()
            warm(self._shared.generation, now_ms, self._ledger)
        self._answers.refresh(now_ms)

    def take_up(self, bundle: Bundle, now_ms: Callable[[], int]) -> None:
        """Serve another bundle from now on.

        A state of the same layout goes on, its vectors and indexes made anew in short steps, and what is appended
        between them told to both; for another layout the log is folded beside what is served.
        """
        with self._changing:
            before = self._shared.generation
            goes_on = bundle.feature_set.layout == before.state.layout
            if goes_on:
                made = self._maker.beside(
                    before, bundle, self._journal.writing, lambda one: warming(one, now_ms(), self._ledger)
                )
            else:
                made = self._maker.anew(bundle, before.policy)
                self._maker.catch_up(made)
                warm(made, now_ms(), self._ledger)
            with self._journal.writing:
                if not goes_on:
                    self._maker.catch_up(made)
                with self._shared.mutex:
                    self._answers.change(made)
                    self.bundle_since_ms = now_ms()
            before.close()

    def go_by(self, policy: Policy, now_ms: Callable[[], int]) -> None:
        """Serve under another policy from now on."""
        with self._changing, self._journal.writing:
            made = self._maker.under(self._shared.generation, policy)
            with self._shared.mutex:
                self._answers.change(made)
                self.policy_since_ms = now_ms()
