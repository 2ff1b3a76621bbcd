"""What may be shown by law: the rules of every home, then the dated rules and the quality floors of its policy."""

import numpy as np

from features.state import FeatureState
from features.types import BoolArray, ByteArray, RowArray
from ranking.candidates import eligibility
from ranking.candidates.quality import Quality
from ranking.candidates.rules import Rules
from ranking.policy import Policy
from ranking.types import Candidates, Query


class Legality:
    """The judge of items under a policy; the caller holds the state's mutex.

    Parameters
    ----------
    state : FeatureState
    policy : Policy
    quality : Quality
        Of the policy's floors.
    """

    def __init__(self, state: FeatureState, policy: Policy, quality: Quality) -> None:
        self._state, self._policy, self._quality = state, policy, quality
        self._rules = Rules(state, policy.rules)

    def follow(self, rows: RowArray) -> None:
        """Take in item rows whose catalog row changed."""
        self._rules.follow(rows)

    def keep(self, query: Query, found: Candidates) -> tuple[Candidates, dict[str, int]]:
        """Candidates that may be shown; and how many were dropped, by reason."""
        reasons = self._reasons(query, found.rows)
        if not reasons.any():
            return found, {}
        mask = reasons == 0
        return Candidates(found.rows[mask], found.source[mask]), eligibility.counts(reasons, self._rules.names)

    def why_not(self, query: Query, rows: RowArray) -> list[str]:
        """Why each item (n,) may not be shown to a person; empty where it may."""
        names = eligibility.named(self._rules.names)
        return [names[reason] for reason in self._reasons(query, rows).tolist()]

    def showable(self, rows: RowArray, now_ms: int, surface: str = "", user: int = 0) -> BoolArray:
        """The last check: which items (n,) are still listed, alive, in stock, not hidden, and not barred."""
        fit = eligibility.fit_to_show(self._state, self._policy, rows, now_ms, user)
        reasons = np.zeros(len(rows), np.uint8)
        self._judge(reasons, rows, surface, now_ms)
        fit &= reasons == 0
        return fit

    def _reasons(self, query: Query, rows: RowArray) -> ByteArray:
        _, reasons = eligibility.keep(self._state, self._policy, query, rows)
        self._judge(reasons, rows, query.context.surface, query.now_ms)
        return reasons

    def _judge(self, reasons: ByteArray, rows: RowArray, surface: str, now_ms: int) -> None:
        """Give items (n,) that are legal otherwise the reason why the policy's own rules do not let them pass."""
        if self._policy.rules:
            broken = self._rules.broken(surface, now_ms, rows)
            fallen = (reasons == 0) & (broken > 0)
            reasons[fallen] = len(eligibility.REASONS) - 1 + broken[fallen]
        if self._policy.quality:
            reasons[(reasons == 0) & self._quality.blocked(rows, now_ms)] = eligibility.QUALITY
