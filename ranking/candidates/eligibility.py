"""What may be shown at all: legal rules never give way, and each item they drop keeps its reason."""

from collections.abc import Iterable

import numpy as np
from numba import njit

from features.fold.arrays import Arrays
from features.fold.lanes import prefetch
from features.outcomes import KIND_CODES, PRODUCT, ROOM
from features.records import FUTURE_MS, Kind
from features.state import FeatureState, Hidden
from features.types import BoolArray, ByteArray, FloatArray, RowArray
from ranking.policy import Policy
from ranking.types import Query

REASONS = ("", "unlisted", "kind", "dead_room", "no_stock", "hidden", "quality")
"""Why an item was dropped, by code; the first is none. Codes beyond are the policy's rules, in order."""
AHEAD = 32
"""Items that are fetched from memory at a time: their lines come side by side, not one after the other."""
UNLISTED, WRONG_KIND, DEAD_ROOM, NO_STOCK, HIDDEN, QUALITY = range(1, len(REASONS))


def _mask_of(kinds: Iterable[Kind]) -> int:
    """A bit for the code of each kind."""
    return sum(1 << KIND_CODES[kind] for kind in kinds)


_EVERY_KIND = _mask_of(Kind)


def keep(state: FeatureState, policy: Policy, query: Query, rows: RowArray) -> tuple[BoolArray, ByteArray]:
    """Judge items for a person on a surface, as the state is now; the caller holds the state's mutex.

    An item is dropped when it is unlisted (taken down, or never described), not of the surface's kinds, a room that
    is not alive, a product without stock, or when the person hid it, its author or its category, which holds with
    personalisation off as well.

    Returns
    -------
    mask : BoolArray
        Which items (n,) are legal.
    reasons : ByteArray
        Code (n,) of the reason that dropped each, into ``REASONS``.
    """
    kinds = policy.surface(query.context.surface).kinds
    reasons = _judge(state.native, _mask_of(kinds), policy.room_ttl_ms, query.now_ms, rows)
    hidden = state.hidden.get(query.user)
    if hidden is not None:
        reasons[(reasons == 0) & _hidden_by(state, hidden, rows)] = HIDDEN
    return reasons == 0, reasons


def fit_to_show(state: FeatureState, policy: Policy, rows: RowArray, now_ms: int, user: int = 0) -> BoolArray:
    """The last check before a page goes out: which items (n,) are still listed, alive, in stock and not hidden."""
    fit: BoolArray = _judge(state.native, _EVERY_KIND, policy.room_ttl_ms, now_ms, rows) == 0
    hidden = state.hidden.get(user)
    return fit if hidden is None else fit & ~_hidden_by(state, hidden, rows)


def presentable(state: FeatureState, rows: RowArray) -> BoolArray:
    """Which items (n,) may be found at all: listed, a product in stock, a room that did not end, whatever the time."""
    items = state.arrays.items
    return _presentable(items.categories, items.numbers, items.listed, items.ended, rows)


def named(rules: tuple[str, ...]) -> tuple[str, ...]:
    """What each reason's code is called; a policy's rules come last, each as ``rule NAME``."""
    return (*REASONS, *(f"rule {name}" for name in rules))


def counts(reasons: ByteArray, rules: tuple[str, ...] = ()) -> dict[str, int]:
    """How many items each reason dropped, the policy's rules as ``rule NAME``; those that dropped none are left out."""
    if not reasons.any():
        return {}
    names = named(rules)
    numbers = np.bincount(reasons, minlength=len(names))
    return {names[code]: int(numbers[code]) for code in range(1, len(names)) if numbers[code]}


@njit(nogil=True, cache=True)
def alive(started_ms: int, ended: bool, pulse_ms: int, now_ms: int, ttl_ms: int) -> bool:
    """Whether a room is on air: it started, did not end, and gave a pulse no longer than ``ttl_ms`` ago.

    A pulse from further ahead than any clock may be is none.
    """
    return started_ms != 0 and not ended and -FUTURE_MS <= now_ms - pulse_ms <= ttl_ms


def _hidden_by(state: FeatureState, hidden: Hidden, rows: RowArray) -> BoolArray:
    columns = (rows, state.arrays.items.categories[rows, 0], state.arrays.items.categories[rows, 3])
    names = (hidden.items, hidden.authors, hidden.categories)
    masks = [
        np.isin(column, np.fromiter(some, np.int32, len(some))) for column, some in zip(columns, names, strict=True)
    ]
    return masks[0] | masks[1] | masks[2]


@njit(nogil=True, cache=True)
def _judge(arrays: Arrays, shown: int, ttl_ms: int, now_ms: int, rows: RowArray) -> ByteArray:
    """The reason (n,) that drops each item, 0 none; ``shown`` is as ``_mask_of`` gives it."""
    out, items = np.zeros(rows.shape[0], np.uint8), arrays.items
    categories, numbers, times, listed, ended, pulse_ms = (
        items.categories,
        items.numbers,
        items.times,
        items.listed,
        items.ended,
        items.pulse_ms,
    )
    kinds, stocks, starts = categories.reshape(-1), numbers.reshape(-1), times.reshape(-1)
    for start in range(0, rows.shape[0], AHEAD):
        stop = min(start + AHEAD, rows.shape[0])
        for row in rows[start:stop]:
            prefetch(kinds, np.intp(row) * categories.shape[1] + 4)
            prefetch(listed, int(row))
        for row in rows[start:stop]:
            if categories[row, 4] == ROOM:
                prefetch(starts, np.intp(row) * times.shape[1] + 1)
                prefetch(ended, int(row))
                prefetch(pulse_ms, int(row))
            else:
                prefetch(stocks, np.intp(row) * numbers.shape[1] + 1)
        for i in range(start, stop):
            row = rows[i]
            kind = categories[row, 4]
            if kind == 0 or not listed[row]:
                out[i] = UNLISTED
            elif not shown >> kind & 1:
                out[i] = WRONG_KIND
            elif kind == ROOM and not alive(times[row, 1], ended[row], pulse_ms[row], now_ms, ttl_ms):
                out[i] = DEAD_ROOM
            elif kind == PRODUCT and numbers[row, 1] == 0:
                out[i] = NO_STOCK
    return out


@njit(nogil=True, cache=True)
def _presentable(
    categories: RowArray, numbers: FloatArray, listed: BoolArray, ended: BoolArray, rows: RowArray
) -> BoolArray:
    out = np.empty(rows.shape[0], np.bool_)
    for i in range(rows.shape[0]):
        row = rows[i]
        kind = categories[row, 4]
        over = (kind == PRODUCT and numbers[row, 1] == 0) or (kind == ROOM and ended[row])
        out[i] = listed[row] and not over
    return out
