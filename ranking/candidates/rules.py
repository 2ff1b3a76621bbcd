"""Dated eligibility over a state: which of the policy's rules an item breaks at a moment."""

import numpy as np
from numba import njit

from features.fold.arrays import Items
from features.outcomes import KIND_CODES, PRODUCT, ROOM, SHOP_CODES
from features.state import FeatureState
from features.types import BoolArray, ByteArray, RowArray
from ranking.candidates.wares import WareArrays, Wares
from ranking.policy.rules import Rule


class Rules:
    """The rules of a policy; the caller holds the state's mutex.

    Parameters
    ----------
    state : FeatureState
    rules : tuple of Rule
        Where an item breaks several, the first is named.
    """

    def __init__(self, state: FeatureState, rules: tuple[Rule, ...]) -> None:
        self.names = tuple(rule.name for rule in rules)
        self._state = state
        self._rules = rules
        self._marks = tuple(dict.fromkeys(rule.unless for rule in rules if rule.unless))
        kinds = {KIND_CODES[kind] for rule in rules for kind in rule.kinds}
        self._wares = Wares(state, kinds, self._marks) if rules else None

    def follow(self, rows: RowArray) -> None:
        """Take in item rows whose catalog row changed."""
        if self._wares is not None:
            self._wares.follow(rows)

    def broken(self, surface: str, now_ms: int, rows: RowArray) -> ByteArray:
        """The number (n,) of the first rule that each item breaks, from 1; 0 for none."""
        out = np.zeros(len(rows), np.uint8)
        if self._wares is None:
            return out
        for number, rule in enumerate(self._rules, 1):
            if rule.meant(surface, now_ms):
                judged = np.zeros(len(KIND_CODES), np.bool_)
                judged[[KIND_CODES[kind] for kind in rule.kinds]] = True
                lifts = 1 << self._marks.index(rule.unless) if rule.unless else 0
                shop = SHOP_CODES[rule.shop] if rule.shop else -1
                _judge(self._state.arrays.items, self._wares.arrays, judged, shop, lifts, rows, number, out)
        return out


@njit(nogil=True, cache=True)
def _judge(
    items: Items, wares: WareArrays, judged: BoolArray, shop: int, lifts: int, rows: RowArray, number: int,
    out: ByteArray,
) -> None:  # fmt: skip
    for i in range(rows.shape[0]):
        row = rows[i]
        kind = items.categories[row, 4]
        if out[i] != 0 or not judged[kind]:
            continue
        if kind == PRODUCT:
            broken = _meant(items, wares, shop, lifts, row)
        else:
            pinned = items.pinned[row]
            broken = kind == ROOM and pinned != 0 and _meant(items, wares, shop, lifts, pinned)
            for at in range(wares.start[row], wares.start[row] + wares.size[row]):
                broken = broken or _meant(items, wares, shop, lifts, wares.pool[at])
        if broken:
            out[i] = number


@njit(nogil=True, cache=True)
def _meant(items: Items, wares: WareArrays, shop: int, lifts: int, product: int) -> bool:
    """Whether a rule means a product: of its shop, without the mark that lifts it."""
    of_shop = items.categories[product, 4] != 0 and (shop < 0 or items.categories[product, 5] == shop)
    return bool(of_shop and (wares.marks[product] & lifts) == 0)
