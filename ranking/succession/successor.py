"""The generation that comes next: another bundle over the same log, made beside the one that is served.

A state gives an item its row by its place in the log, so that an item has one row in the states of all layouts.
"""

from collections.abc import Callable
from pathlib import Path

from features import snapshot
from features.logs.live import HomeLog
from features.replay import Progress, quiet
from features.state import FeatureState
from ranking.bundles.bundle import Bundle
from ranking.policy import Policy
from ranking.request.generation import Generation
from ranking.types import Ranker

MakeRanker = Callable[[Bundle, FeatureState], Ranker]


class Maker:
    """Makes generations of a home.

    Parameters
    ----------
    home : Path
    log : HomeLog
    ranker : callable
        Makes what scores.
    keeps : bool
        Whether trained lists of the indexes are kept for the next start.
    """

    def __init__(self, home: Path, log: HomeLog, ranker: MakeRanker, *, keeps: bool) -> None:
        self._home, self._log, self.ranker, self._keeps = home, log, ranker, keeps

    def anew(self, bundle: Bundle, policy: Policy, *, whole: bool = True) -> Generation:
        """Over a state of its own: the newest snapshot of the layout, and the rest of the log folded.

        Where it is not ``whole`` it has taken in no item yet.
        """
        state = snapshot.restored(bundle.feature_set.layout, self._log, self._home / "state")
        return self._filled(self._over(state, bundle, policy, self.ranker(bundle, state), whole=whole))

    def beside(self, before: Generation, bundle: Bundle, ranker: Ranker) -> Generation:
        """Over the state of a generation that goes on; nobody folds meanwhile, and it has taken in no item yet."""
        made = self._over(before.state, bundle, before.policy, ranker, whole=False)
        if not made.load.goes_on(before.load):
            self._filled(made)
        return made

    def _over(self, state: FeatureState, bundle: Bundle, policy: Policy, ranker: Ranker, *, whole: bool) -> Generation:
        lists, bundles = self._home / "index", self._home / "bundles"
        return Generation(bundle, policy, state, ranker, lists=lists, bundles=bundles, keeps=self._keeps, whole=whole)

    def under(self, generation: Generation, policy: Policy) -> Generation:
        """The same generation under another policy; nobody folds meanwhile."""
        return self._filled(generation.under(policy))

    def _filled(self, generation: Generation) -> Generation:
        if generation.policy.counts_served:
            state = generation.state
            since = min(self._log.since(generation.load.begun_ms(state.received_ms)), state.offset)
            generation.fill_load(self._log.read(since, state.offset))
        return generation

    def at(self, bundle: Bundle, policy: Policy, offset: int, progress: Progress = quiet) -> Generation:
        """Over a state of its own as it was at an offset; it may be folded on, and its retrieval is exact."""
        layout = bundle.feature_set.layout
        state = snapshot.nearest(layout, self._home / "state", offset, self._log.user_ids) or FeatureState(layout)
        first = state.offset
        for batch in self._log.read(first, offset):
            state.fold(batch)
            progress(state.offset - first, offset - first)
        return self._filled(Generation(bundle, policy, state, self.ranker(bundle, state), exact=True))

    def catch_up(self, generation: Generation) -> None:
        """Fold what the log has beyond a generation of its own state."""
        for batch in self._log.read(generation.state.offset):
            generation.fold(batch)
