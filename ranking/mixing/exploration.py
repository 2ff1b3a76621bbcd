"""Exploration: some slots of some pages are drawn by lot among newcomers, with chances that the log can repeat.

What is new has few counts of its own, so its chance of being watched to the end is a Beta whose prior is that of where
it comes from: the brand of a product or the author of a room or video, that one's category, the kind. Every newcomer
gets ``draws`` draws from its Beta, and wins as often as its draw is worth most. A slot then takes newcomer i with
``q_i = (1 - epsilon) * wins_i / draws + epsilon / n`` over the n that may stand there given the page so far. The draws
are seeded by policy version, hour and person, the choice by the request id: so q is the slot's propensity.

After Thompson, "On the likelihood that one unknown probability exceeds another" (1933).
"""

import hashlib
from dataclasses import dataclass

import numpy as np

from features.fold.arrays import AUTHOR, BRAND, CATEGORY, ITEM, KIND
from features.layout import Layout, half_life_ms
from features.schema import EVIDENCE_HALF_LIFE
from features.state import FeatureState
from features.types import BoolArray, DoubleArray, IntArray, RowArray
from ranking.mixing.draws import draw, first_draws, wins_among
from ranking.mixing.evidence import Counted, Counts, Newness, Slots, evidence
from ranking.policy import Explore
from ranking.types import Query

HOUR_MS = 3_600_000
SOURCE = "explore"
"""What answers call the source of a slot that was drawn by lot."""


@dataclass(frozen=True, slots=True)
class Lottery:
    """What newcomers drew: their item rows (n,) int32, and what each draw is worth (draws, n) float64."""

    rows: RowArray
    draws: DoubleArray
    epsilon: float

    def chances(self, eligible: BoolArray) -> DoubleArray:
        """The chance q (n,) of each, 0 of those that may not stand there; they sum to 1 where any may."""
        count = int(eligible.sum())
        if not count:
            return np.zeros(len(eligible))
        share = wins_among(self.draws, eligible) / len(self.draws)
        q: DoubleArray = np.where(eligible, (1.0 - self.epsilon) * share + self.epsilon / count, 0.0)
        return q

    def pick(self, chances: DoubleArray, request_id: str, slot: int) -> int:
        """Which newcomer a request's slot takes, of chances that sum to 1."""
        sums = np.cumsum(chances)
        at = int(np.searchsorted(sums, uniform(request_id, str(slot)) * sums[-1], side="right"))
        # Rounding may leave the last sum a hair above where all are used up.
        return min(at, int(np.flatnonzero(chances)[-1]))


def takes(rule: Explore, request_id: str) -> bool:
    """Whether the page of a request explores at all."""
    return rule.rate > 0 and bool(rule.slots) and (rule.rate >= 1 or uniform(request_id, "rate") < rule.rate)


def uniform(request_id: str, what: str) -> float:
    """A number in [0, 1) that a request id gives for a purpose."""
    return _hash(request_id, what) / 2.0**64


def _hash(*parts: str) -> int:
    digest = hashlib.blake2b("\n".join(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def evidence_slots(layout: Layout) -> Slots:
    """Where a layout keeps impressions and completions of items, authors, brands, categories and kinds."""
    names = ("item", "author", "brand", "category", "kind")
    pairs = [[layout.slot(of, action, EVIDENCE_HALF_LIFE) for action in ("impression", "complete")] for of in names]
    return np.array(pairs, np.int64)


def hold(state: FeatureState, rule: Explore, slots: Slots, query: Query, version: str, rows: RowArray) -> Lottery:
    """The lottery among the newcomers of some items, as of a request; the caller holds the state's mutex.

    Of more than ``pool`` newcomers those take part who do best in a first draw.

    Parameters
    ----------
    slots : Slots
        Of ``evidence_slots``.
    version : str
        The policy's; with the hour and the person it seeds the draws. One who is not personalised is nobody.
    rows : RowArray
        Item rows (n,) int32, each once.
    """
    tables, items = state.arrays.tables, state.arrays.items
    item, author, brand, category, kind = (
        Counts(tables[of].values, tables[of].stamp, int(slots[at, 0]), int(slots[at, 1]))
        for at, of in enumerate((ITEM, AUTHOR, BRAND, CATEGORY, KIND))
    )
    half_life = float(half_life_ms(EVIDENCE_HALF_LIFE))
    counted = Counted(item, author, brand, category, kind, query.now_ms, half_life)
    new = Newness(rule.age_ms, rule.brand_age_ms, rule.enough, rule.prior)
    found, a, b, worth = evidence(counted, items.categories, items.times, rows, new)
    user = query.user_id if query.personalised_user else ""
    seed = np.uint64(_hash(version, str(query.now_ms // HOUR_MS), user))
    if len(found) > rule.pool:
        best = np.sort(np.argpartition(-first_draws(seed, found, a, b, worth), rule.pool)[: rule.pool])
        found, a, b, worth = found[best], a[best], b[best], worth[best]
    return Lottery(found, draw(seed, found, a, b, worth, rule.draws), rule.epsilon)


def places_of(few: RowArray, rows: RowArray) -> IntArray:
    """Where each of a few item rows, all there, stands among rows (n,)."""
    order = np.argsort(rows)
    places: IntArray = order[np.searchsorted(rows, few, sorter=order)]
    return places
