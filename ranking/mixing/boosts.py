"""Boosts at work: which candidates are meant, which of them are good enough, and what that costs the budget."""

from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Protocol, Self

import numpy as np

from features.state import FeatureState
from features.types import BoolArray, IntArray, RowArray
from ranking.mixing.mixer import best_first
from ranking.policy.boosts import Boost
from ranking.types import Scored
from ranking.value import value_of

NO_BOOSTS = np.zeros(0, np.int64)
_COLUMNS = ("authors", "merchants", "brands", "categories")


def meant(
    state: FeatureState, boosts: tuple[Boost, ...], surface: str, now_ms: int, rows: RowArray
) -> tuple[IntArray, BoolArray]:
    """The places (b,) of the boosts that hold now and mean any of some items, as written; and which (b, n)."""
    if not boosts:
        return NO_BOOSTS, np.zeros((0, len(rows)), np.bool_)
    named = {at: _named(state, boost, rows) for at, boost in enumerate(boosts) if boost.meant(surface, now_ms)}
    found = [at for at, who in named.items() if who.any()]
    return np.array(found, np.int64), np.array([named[at] for at in found], np.bool_).reshape(len(found), len(rows))


def _named(state: FeatureState, boost: Boost, rows: RowArray) -> BoolArray:
    mask = np.ones(len(rows), np.bool_)
    categories = state.arrays.items.categories
    if boost.items:
        mask &= np.isin(rows, state.items.find_all(boost.items))
    for column, name in enumerate(_COLUMNS):
        if names := getattr(boost, name):
            found = state.columns[name.replace("ies", "y").removesuffix("s")].find_all(names)
            mask &= np.isin(categories[rows, column], found[found > 0])
    if boost.kinds:
        mask &= np.isin(categories[rows, 4], state.columns["kind"].find_all(list(boost.kinds)))
    return mask


class Purse(Protocol):
    """What pays for boosts: the home's ledger, or what it gave once."""

    def take(self, boost: Boost, wanted: int, now_ms: int) -> int:
        """Set impressions aside: at most as many as wanted."""
        ...

    def give_back(self, name: str, impressions: int) -> None:
        """Return what was set aside and not spent."""
        ...


@dataclass
class Lift:
    """What was scored, with boosts, and the impressions set aside for it; leaving gives back what was not spent.

    ``by`` (n,) is the place of the boost that lifts each candidate, -1 none.
    """

    scored: Scored
    ledger: Purse
    held: dict[str, int] = field(default_factory=dict)
    by: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for name, impressions in self.held.items():
            self.ledger.give_back(name, impressions)

    def spend(self, boosts: tuple[Boost, ...], at: IntArray) -> None:
        """Spend an impression for each item lifted on a page, given as positions into ``scored``."""
        if self.held:
            for place in self.by[at][self.by[at] >= 0].tolist():
                self.held[boosts[place].name] -= 1


def lifted(scored: Scored, at: IntArray) -> BoolArray:
    """Which of some positions (m,) a boost lifts."""
    if not len(scored.batch.decided.boosts):
        return np.zeros(len(at), np.bool_)
    raised: BoolArray = scored.terms[at, -1] > 0
    return raised


def lift(scored: Scored, boosts: tuple[Boost, ...], ledger: Purse) -> Lift:
    """Add each boost's term, the last of ``terms``, to the best of those it means that reach its floor.

    An item is lifted once: by the first written of the boosts that mean it, whose floor it reaches and whose budget has
    an impression left for it. Each lifts at most as many as a page may hold.
    """
    decided, query = scored.batch.decided, scored.batch.query
    if not len(decided.boosts):
        return Lift(scored, ledger)
    terms, held, by = scored.terms.copy(), {}, np.full(len(scored.value), -1, np.int64)
    known = scored.value[~np.isnan(scored.value)]
    for place, who in zip(decided.boosts.tolist(), decided.meant, strict=True):
        boost = boosts[place]
        least = np.quantile(known, boost.floor, method="lower") if len(known) else np.inf
        worth = np.flatnonzero(who & (by < 0) & (scored.value >= least))
        worth = worth[best_first(scored.value[worth], scored.batch.rows[worth])][: query.count]
        held[boost.name] = ledger.take(boost, len(worth), query.now_ms) if len(worth) else 0
        by[worth[: held[boost.name]]] = place
        terms[worth[: held[boost.name]], -1] = boost.term
    return Lift(replace(scored, terms=terms, value=value_of(terms)), ledger, held, by)
