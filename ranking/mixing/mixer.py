"""From scores to a page: the best first, within the composition bounds that the policy writes down."""

import numpy as np
from numba import njit

from features.types import BoolArray, DoubleArray, IntArray, RowArray
from ranking.policy import Bound
from ranking.types import Bounded, Slate

NONE = np.zeros(0, np.int64)
"""No positions."""


def best_first(value: DoubleArray, rows: RowArray) -> IntArray:
    """Positions (n,) by value, highest first, ties by item row, NaN last."""
    order = np.argsort(-value)
    ranked = value[order]
    if (ranked[1:] == ranked[:-1]).any() or np.isnan(ranked[-2:]).any():
        # Only ties, and several NaN, leave anything to decide.
        order = np.lexsort((rows, -value))
    return order


def best_mask(value: DoubleArray, rows: RowArray, count: int) -> BoolArray:
    """Which (n,) are the first ``count`` in the order of ``best_first``."""
    if count >= len(value):
        return np.ones(len(value), np.bool_)
    known = np.where(np.isnan(value), -np.inf, value)
    least = np.partition(known, -count)[-count]
    mask: BoolArray = known > least
    equal = np.flatnonzero(known == least)
    mask[equal[best_first(value[equal], rows[equal])[: count - int(mask.sum())]]] = True
    return mask


def without(order: IntArray, some: IntArray) -> IntArray:
    """An order without some positions."""
    return order[~np.isin(order, some)] if len(some) else order


def bounded(bounds: tuple[Bound, ...], keys: RowArray, held: IntArray, count: int) -> Bounded:
    """Bounds over a page of ``count`` slots; those over a day hold ``held`` (bounds,) already."""
    limits = [
        (bound.at_most - before, count if bound.window == "day" else bound.window)
        for bound, before in zip(bounds, held.tolist(), strict=True)
    ]
    return Bounded(tuple(bound.name for bound in bounds), keys, np.array(limits, np.int64).reshape(-1, 2))


def mix(bounds: Bounded, order: IntArray, count: int, begun: IntArray = NONE) -> tuple[Slate, tuple[str, ...]]:
    """Fill a page greedily: each slot takes the first item in ``order`` that breaks no bound.

    Where none fits, bounds give way in the order they are written: the slot takes the first item that fits when the
    first bound is waived, else the first two, and so on. So a page is short only for want of items.

    Parameters
    ----------
    bounds : Bounded
    order : IntArray
        Positions, best first; those not named are not used.
    count : int
        Slots of the page.
    begun : IntArray
        Positions that stand on the page already; ``order`` names none of them.

    Returns
    -------
    Slate
        Page and reserve as positions; the reserve is the rest of ``order``.
    tuple of str
        The names of bounds that the page breaks, in their written order.
    """
    broken = np.zeros(len(bounds.names), np.bool_)
    page, reserve = _fill(bounds.keys, bounds.limits, begun, np.ascontiguousarray(order, np.int64), count, broken)
    return Slate(page, reserve, bounds=bounds), tuple(
        name for name, gave in zip(bounds.names, broken, strict=True) if gave
    )


def fitting(bounds: Bounded, page: IntArray, asked: IntArray) -> BoolArray:
    """Which positions (m,) may stand in the slot after a page so far: not on it yet, and breaking no bound."""
    return _fitting(bounds.keys, bounds.limits, np.append(page, 0), asked)


@njit(nogil=True, cache=True)
def _fitting(keys: RowArray, limits: IntArray, page: IntArray, asked: IntArray) -> BoolArray:
    slot = page.shape[0] - 1
    out = np.empty(asked.shape[0], np.bool_)
    for i in range(asked.shape[0]):
        out[i] = _level(keys, limits, page, slot, asked[i]) == 0
        for earlier in page[:slot]:
            out[i] &= earlier != asked[i]
    return out


@njit(nogil=True, cache=True)
def _fill(
    keys: RowArray, limits: IntArray, begun: IntArray, order: IntArray, count: int, broken: BoolArray
) -> tuple[IntArray, IntArray]:
    rest = order.copy()
    left = rest.shape[0]
    page = np.empty(min(count, begun.shape[0] + left), np.int64)
    for slot in range(min(begun.shape[0], page.shape[0])):
        page[slot] = begun[slot]
        for b in range(limits.shape[0]):
            broken[b] |= _breaks(keys[b], limits[b], page, slot, page[slot])
    for slot in range(begun.shape[0], page.shape[0]):
        best, best_level = 0, limits.shape[0] + 1
        for i in range(left):
            level = _level(keys, limits, page, slot, rest[i])
            if level < best_level:
                best, best_level = i, level
            if level == 0:
                break
        page[slot] = rest[best]
        for b in range(best_level):
            broken[b] |= _breaks(keys[b], limits[b], page, slot, rest[best])
        left -= 1
        for i in range(best, left):
            rest[i] = rest[i + 1]
    return page, rest[:left].copy()


@njit(nogil=True, cache=True)
def _level(keys: RowArray, limits: IntArray, page: IntArray, slot: int, item: int) -> int:
    """How many bounds, from the first, must give way for the item to stand in the slot."""
    for b in range(limits.shape[0] - 1, -1, -1):
        if _breaks(keys[b], limits[b], page, slot, item):
            return b + 1
    return 0


@njit(nogil=True, cache=True)
def _breaks(keys: RowArray, limit: IntArray, page: IntArray, slot: int, item: int) -> bool:
    """Whether the item in the slot would exceed a bound over the window that ends there."""
    if keys[item] == 0:
        return False
    held = 1
    for earlier in range(max(0, slot - limit[1] + 1), slot):
        held += keys[page[earlier]] == keys[item]
    return bool(held > limit[0])
