"""The kernel that replays: pages are read while the log is folded, each after the records that came before it."""

import numpy as np
from numba import njit

from features.fold.arrays import Arrays, Pages, SlotArrays, Steps, Words
from features.fold.assemble import View, assemble, context_row
from features.fold.counters import fold
from features.types import BoolArray, FloatArray, IntArray, RowArray

CITY_TIER = 2
"""Its place among the words of a page, and among the categories of a person."""


@njit(nogil=True, cache=True)
def fold_and_read(
    arrays: Arrays,
    slots: SlotArrays,
    steps: Steps,
    ignored: IntArray,
    spilt: IntArray,
    learned: View,
    words: Words,
    pages: Pages,
    folded: tuple[int, int],
    some: tuple[int, int],
    stale: BoolArray,
    out: FloatArray,
) -> tuple[int, int]:
    """Fold events from ``done`` on up to the last of some pages, and write the rows of each at its moment.

    It stops before a page that would read the vector of a stale item; where that is the first, it has folded to it.

    Parameters
    ----------
    arrays, slots, steps, ignored, spilt
        As of ``fold``.
    folded : tuple of int
        The offset of the first of ``steps``, and how many of them are folded.
    some : tuple of int
        The first page to read, and the one after the last.
    stale : BoolArray
        (items,): what ``learned`` has not taken in as it is now.
    out : FloatArray
        (n, d) float32: the rows of ``pages.item``.

    Returns
    -------
    done, page : int
        How many of ``steps`` are folded then, and the first page that is not read.
    """
    start, done = folded
    wide = out.shape[1]
    columns = np.arange(wide)
    for page in range(some[0], some[1]):
        stop = pages.read_offset[page] - start
        fold(arrays, slots, steps, done, stop, ignored, spilt)
        done = stop
        person, now_ms = pages.user[page], pages.now_ms[page]
        user = int(person) if arrays.users.personalised[person] else 0
        surface, device, tier = pages.words[page, 0], pages.words[page, 1], pages.words[page, 2]
        city = words.codes[2, tier] if tier != 0 else words.tiers[arrays.users.categories[user, CITY_TIER]]
        codes = (words.codes[0, surface], words.codes[1, device], city)
        first, last = pages.first[page], pages.first[page + 1]
        if is_any(stale, pages.item[first:last]) or is_any(stale, arrays.rings.item[user]):
            return done, page
        context = context_row(now_ms, words.utc_offset_ms, pages.position[page], codes)
        rows = np.empty((wide, last - first), np.float32)
        assemble(arrays, slots, learned, context, user, now_ms, pages.item[first:last], columns, rows)
        for i in range(last - first):
            for j in range(wide):
                out[first + i, j] = rows[j, i]
    return done, some[1]


@njit(nogil=True, cache=True)
def is_any(marked: BoolArray, rows: RowArray) -> bool:
    """Whether any of some rows is marked."""
    found = False
    for row in rows:
        found |= marked[row]
    return found
