"""Boosts at work: which candidates are meant, which of them are good enough, and what that costs the budget."""

from dataclasses import dataclass, replace
from types import TracebackType
from typing import Protocol, Self

import numpy as np

from features.state import FeatureState
from features.types import BoolArray, IntArray, RowArray, ShortArray
from ranking.mixing.mixer import best_first
from ranking.policy.boosts import Boost
from ranking.types import Scored
from ranking.value import value_of

_COLUMNS = ("authors", "merchants", "brands", "categories")


def meant(state: FeatureState, boosts: tuple[Boost, ...], surface: str, now_ms: int, rows: RowArray) -> ShortArray:
    """The number (n,) of the first boost that holds now and means each item, from 1; 0 for none."""
    out = np.zeros(len(rows), np.int16)
    for number, boost in enumerate(boosts, 1):
        if boost.meant(surface, now_ms):
            out[(out == 0) & _named(state, boost, rows)] = number
    return out


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
    """What was scored, with boosts, and the impressions set aside for it; leaving gives back what was not spent."""

    scored: Scored
    ledger: Purse
    held: dict[str, int]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for name, impressions in self.held.items():
            self.ledger.give_back(name, impressions)

    def spend(self, boosts: tuple[Boost, ...], at: IntArray) -> None:
        """Spend an impression for each item lifted on a page, given as positions into ``scored``."""
        if self.held:
            for number in self.scored.batch.decided.boost[at][lifted(self.scored)[at]].tolist():
                self.held[boosts[number - 1].name] -= 1


def lifted(scored: Scored) -> BoolArray:
    """Which candidates (n,) a boost lifts."""
    if not scored.batch.decided.boost.any():
        return np.zeros(len(scored.value), np.bool_)
    raised: BoolArray = scored.terms[:, -1] > 0
    return raised


def lift(scored: Scored, boosts: tuple[Boost, ...], ledger: Purse) -> Lift:
    """Add each boost's term, the last of ``terms``, to the best of those it means that reach its floor.

    At most as many as a page may hold, and as there are impressions left.
    """
    decided, query = scored.batch.decided, scored.batch.query
    numbers = np.unique(decided.boost[decided.boost > 0])
    if not len(numbers):
        return Lift(scored, ledger, {})
    terms, held = scored.terms.copy(), {}
    known = scored.value[~np.isnan(scored.value)]
    for number in numbers.tolist():
        boost = boosts[number - 1]
        least = np.quantile(known, boost.floor, method="lower") if len(known) else np.inf
        worth = np.flatnonzero((decided.boost == number) & (scored.value >= least))
        worth = worth[best_first(scored.value[worth], scored.batch.rows[worth])][: query.count]
        held[boost.name] = ledger.take(boost, len(worth), query.now_ms) if len(worth) else 0
        terms[worth[: held[boost.name]], -1] = boost.term
    return Lift(replace(scored, terms=terms, value=value_of(terms)), ledger, held)
