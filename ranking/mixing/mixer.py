"""From scores to a page: the best first, within the composition bounds that the policy writes down."""

import numpy as np
from numba import njit

from features.types import BoolArray, DoubleArray, IntArray, RowArray
from ranking.policy import Bound
from ranking.types import Bounded, Slate

NONE = np.zeros(0, np.int64)
"""No positions."""
_LAST, _ALL_BUT_SIGN = np.uint64((1 << 64) - 1), np.uint64((1 << 63) - 1)


def best_first(value: DoubleArray, rows: RowArray) -> IntArray:
    """Positions (n,) by value, highest first, ties by item row, NaN last."""
    order, tied = _highest_first(np.ascontiguousarray(value, np.float64))
    return np.lexsort((rows, -value)) if tied else order


@njit(nogil=True, cache=True)
def _highest_first(value: DoubleArray) -> tuple[IntArray, bool]:
    """Positions (n,) by value, NaN last, and whether any two tie: keys that rise as values fall, byte by byte."""
    n = value.shape[0]
    keys, order = np.empty(n, np.uint64), np.arange(n)
    bits = (value + 0.0).view(np.uint64)  # -0.0 is 0.0
    for i in range(n):
        # Of numbers above 0 the order of bits is that of values, of those below 0 it is the other way round.
        below = bits[i] >> np.uint64(63) != 0
        keys[i] = bits[i] if below else ~bits[i] & _ALL_BUT_SIGN
        if np.isnan(value[i]):
            keys[i] = _LAST
    counts = np.zeros((8, 257), np.int64)
    for i in range(n):
        for byte in range(8):
            counts[byte, (keys[i] >> np.uint64(8 * byte) & np.uint64(255)) + np.uint64(1)] += 1
    other = np.empty(n, np.int64)
    for byte in range(8):
        if counts[byte].max() == n:
            continue
        starts = np.cumsum(counts[byte])
        for at in order:
            digit = keys[at] >> np.uint64(8 * byte) & np.uint64(255)
            other[starts[digit]] = at
            starts[digit] += 1
        order, other = other, order
    tied = False
    for i in range(1, n):
        tied |= keys[order[i]] == keys[order[i - 1]]
    return order, tied


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
    n, first, placed = order.shape[0], 0, np.zeros(order.shape[0], np.bool_)
    page = np.empty(min(count, begun.shape[0] + n), np.int64)
    for slot in range(min(begun.shape[0], page.shape[0])):
        page[slot] = begun[slot]
        for b in range(limits.shape[0]):
            broken[b] |= _breaks(keys[b], limits[b], page, slot, page[slot])
    for slot in range(begun.shape[0], page.shape[0]):
        best, best_level = 0, limits.shape[0] + 1
        while placed[first]:
            first += 1
        for i in range(first, n):
            level = limits.shape[0] + 1 if placed[i] else _level(keys, limits, page, slot, order[i])
            if level < best_level:
                best, best_level = i, level
            if level == 0:
                break
        page[slot], placed[best] = order[best], True
        for b in range(best_level):
            broken[b] |= _breaks(keys[b], limits[b], page, slot, order[best])
    return page, order[~placed]


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
