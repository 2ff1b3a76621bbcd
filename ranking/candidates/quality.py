"""Quality floors over a state: what an item loses for refunds and complaints, and whether it is shown at all."""

import numpy as np
from numba import njit

from features.fold.arrays import ITEM, KIND, MERCHANT, Table
from features.fold.faded import fade
from features.layout import half_life_ms
from features.outcomes import PRODUCT
from features.schema import QUALITY_HALF_LIFE
from features.state import FeatureState
from features.types import BoolArray, DoubleArray, IntArray, RowArray
from ranking.policy.quality import Floor

_BAD = {"refund": ("refund",), "complaint": ("complaint",), "after_sales": ("refund", "complaint")}
_OF = {"item": ITEM, "merchant": MERCHANT}


class Quality:
    """The floors of a policy; the caller holds the state's mutex.

    Parameters
    ----------
    state : FeatureState
    floors : tuple of Floor
    """

    def __init__(self, state: FeatureState, floors: tuple[Floor, ...]) -> None:
        self._state = state
        self._floors = floors
        self.demotes = any(floor.demote for floor in floors)

    def losses(self, rows: RowArray, now_ms: int) -> DoubleArray:
        """What the floors take from the value of items (n,): their sum, not above 0."""
        out = np.zeros(len(rows), np.float64)
        for floor in self._floors:
            if floor.demote:
                over = self.rates(floor, rows, now_ms) - floor.demote_from
                # Without a block everything above is as bad as can be.
                width = floor.block_from - floor.demote_from if floor.block_from else 0.0
                out -= floor.demote * (np.clip(over / width, 0, 1) if width else (over >= 0))
        return out

    def blocked(self, rows: RowArray, now_ms: int) -> BoolArray:
        """Which items (n,) may not be shown."""
        out = np.zeros(len(rows), np.bool_)
        for floor in self._floors:
            if floor.block_from is not None:
                out |= self.rates(floor, rows, now_ms) >= floor.block_from
        return out

    def rates(self, floor: Floor, rows: RowArray, now_ms: int) -> DoubleArray:
        """The rate (n,) of each item as a floor smooths it; 0 for what has no merchant or was never ordered."""
        state, of = self._state, _OF[floor.of]
        slots = [self._slots(name, _BAD[floor.rate]) for name in (floor.of, "kind")]
        keys = rows if of == ITEM else state.arrays.items.categories[rows, 1]
        half_life = float(half_life_ms(QUALITY_HALF_LIFE))
        tables = state.arrays.tables
        out = np.zeros(len(rows), np.float64)
        _rates(tables[of], slots[0], tables[KIND], slots[1], keys, now_ms, half_life, floor.prior, out)
        return out

    def _slots(self, of: str, bad: tuple[str, ...]) -> IntArray:
        layout = self._state.layout
        return np.array([layout.slot(of, action, QUALITY_HALF_LIFE) for action in ("order", *bad)])


@njit(nogil=True, cache=True)
def _rates(
    table: Table, slots: IntArray, kinds: Table, kind_slots: IntArray, keys: RowArray, now_ms: int, half_life: float,
    prior: float, out: DoubleArray,
) -> None:  # fmt: skip
    """``(a + prior * base) / (orders + prior)``; all counts faded to one moment, the first slot that of orders.

    What nobody ordered is not judged by what became of others' orders: its rate is 0.
    """
    orders = kinds.values[PRODUCT, kind_slots[0]]
    bad = 0.0
    for slot in kind_slots[1:]:
        bad += kinds.values[PRODUCT, slot]
    base = bad / orders if orders > 0 else 0.0
    for i in range(keys.shape[0]):
        key = keys[i]
        if key == 0:
            continue
        faded = fade(table.stamp[key], now_ms, half_life)
        some = 0.0
        for slot in slots[1:]:
            some += table.values[key, slot] * faded
        ordered = table.values[key, slots[0]] * faded
        if ordered + some > 0.0:
            out[i] = (some + prior * base) / (ordered + prior)
