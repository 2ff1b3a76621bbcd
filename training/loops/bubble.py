"""How narrow a feed is and whom it shows: bubble metrics of what a loop showed, a person and on average, day by day.

Figures by day are means over people or pages of one day, days without pages are NaN; figures by person are over all
that one person was shown.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from features.logs.log import DAY_MS
from features.outcomes import KIND_CODES, ROOM
from features.records import Item, Kind
from features.types import BoolArray, DoubleArray, FloatArray, IntArray
from training.loops.exposure import FIGURES as EXPOSED
from training.loops.exposure import NEW_BRAND_MS, brands_begun, gini, owner_of, top_share
from training.loops.loop import Shown

NEVER_MS = -(1 << 60)
LATELY = 50
"""A category is new to a person who did not see it among so many slots before."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of the items of a loop, (n,) each by their code: ``begun_ms`` as their first record says.

    ``owner`` is the author, of a product the merchant, -1 none; ``owners`` counts all there are. ``brand_begun_ms`` is
    when the first product of the item's brand appeared, ``NEVER_MS`` without one; ``of_merchant`` marks merchants'
    rooms. vector (n, dims) float32 has unit length, or is zero.
    """

    kind: IntArray
    category: IntArray
    owner: IntArray
    begun_ms: IntArray
    brand_begun_ms: IntArray
    of_merchant: BoolArray
    vector: FloatArray
    owners: int

    @classmethod
    def of(cls, items: Sequence[Item], catalog: dict[str, Item], vectors: FloatArray) -> "Facts":
        """The facts of some items of a catalog, whose vectors (n, dims) may have any length."""
        categories = {name: code for code, name in enumerate(sorted({item.category for item in catalog.values()}))}
        owned = sorted({owner_of(item) for item in catalog.values()} - {""})
        brands = brands_begun(catalog)
        owners = {name: code for code, name in enumerate(owned)}
        length = np.linalg.norm(vectors, axis=1, keepdims=True)
        return cls(
            np.array([KIND_CODES[item.kind] for item in items]),
            np.array([categories[item.category] for item in items]),
            np.array([owners.get(owner_of(item), -1) for item in items]),
            np.array([item.live_from_ms or item.ts_ms for item in items]),
            np.array([brands.get(item.brand_id, NEVER_MS) for item in items]),
            np.array([item.kind == Kind.ROOM and item.room_type == "merchant" for item in items]),
            (vectors / np.where(length > 0, length, 1)).astype(np.float32),
            len(owners),
        )


def entropy(keys: IntArray) -> float:
    """The entropy, in bits, of how often each key occurs."""
    share = np.unique(keys, return_counts=True)[1] / len(keys)
    return float(-(share * np.log2(share)).sum())


def majority(keys: IntArray) -> float:
    """The share of the commonest key."""
    return float(np.unique(keys, return_counts=True)[1].max() / len(keys))


def list_distance(vectors: FloatArray) -> float:
    """The mean of ``1 - cosine`` over pairs of a page's items, of unit vectors (n, dims); NaN for less than two."""
    n = len(vectors)
    if n < 2:
        return float("nan")
    total = vectors.sum(axis=0, dtype=np.float64)
    own = float((vectors.astype(np.float64) ** 2).sum())
    return 1.0 - (float(total @ total) - own) / (n * (n - 1))


def newly(user: IntArray, category: IntArray, lately: int = LATELY) -> BoolArray:
    """Which slots (n,), in time order, show a category that the person did not see in ``lately`` slots before."""
    order = np.lexsort((np.arange(len(user)), user))
    number = np.empty(len(user), np.int64)
    number[order] = np.arange(len(user))
    new = np.ones(len(user), np.bool_)
    last: dict[tuple[int, int], int] = {}
    pairs = zip(user[order].tolist(), category[order].tolist(), strict=True)
    for place, key in enumerate(pairs):
        new[order[place]] = place - last.get(key, -lately - 1) > lately
        last[key] = place
    return new


def by_day(shown: Shown, facts: Facts, days: int) -> dict[str, DoubleArray]:
    """Every figure of a loop by day, (days,) each."""
    new = newly(shown.user, facts.category[shown.item])
    is_cold = shown.time_ms - facts.begun_ms[shown.item] < DAY_MS
    rows = [_day(shown, facts, np.flatnonzero(shown.day == day), new, is_cold) for day in range(days)]
    return {name: np.array([row.get(name, np.nan) for row in rows]) for name in FIGURES}


OF_A_PERSON = ("entropy", "distance", "new_category", "majority")
"""The figures that are told of each person, too."""


def by_person(shown: Shown, facts: Facts) -> dict[str, dict[str, float]]:
    """How narrow a loop was for each person who was shown anything, by the names of ``OF_A_PERSON``."""
    new = newly(shown.user, facts.category[shown.item])
    people = np.unique(shown.user).tolist()
    return {shown.users[one]: _person(shown, facts, np.flatnonzero(shown.user == one), new) for one in people}


def _person(shown: Shown, facts: Facts, at: IntArray, new: BoolArray) -> dict[str, float]:
    category = facts.category[shown.item[at]]
    told = entropy(category), _distance(shown, facts, at), float(new[at].mean()), majority(category)
    return dict(zip(OF_A_PERSON, told, strict=True))


def _distance(shown: Shown, facts: Facts, at: IntArray) -> float:
    """The mean distance within the pages of some slots; 0 where no page has two."""
    starts = np.flatnonzero(np.diff(shown.page[at], prepend=-1))
    lists = [list_distance(part) for part in np.split(facts.vector[shown.item[at]], starts[1:])]
    return float(np.nanmean([*lists, 0.0] if np.isnan(lists).all() else lists))


FIGURES = {
    "gain": "gain a page of what people did",
    "expected": "gain a page that the world expects",
    "entropy": "category entropy a person, bits",
    "distance": "distance within a page",
    "new_category": "share of slots in a category new to the person",
    "majority": "share of a person's commonest category",
    **{name: EXPOSED[name] for name in ("gini", "top_1pct", "new_brands", "merchants")},
    "cold": "share of slots for items under 24 h",
    "load": "share of products and pinned rooms",
    "explored": "share of slots drawn by lot",
}
"""What a loop is told by, with what each figure is."""


def _day(shown: Shown, facts: Facts, at: IntArray, new: BoolArray, is_cold: BoolArray) -> dict[str, float]:
    if not len(at):
        return {}
    item, user, page = shown.item[at], shown.user[at], shown.page[at]
    category = facts.category[item]
    own = [category[user == one] for one in np.unique(user)]
    starts = np.flatnonzero(np.diff(page, prepend=-1))
    owner, rooms = facts.owner[item], int((facts.kind[item] == ROOM).sum())
    exposure = np.bincount(owner[owner >= 0], minlength=facts.owners).astype(np.float64)
    return {
        "gain": float(shown.gain[at].sum() / len(starts)),
        "expected": float(shown.expected[at].sum() / len(starts)),
        "entropy": float(np.mean([entropy(keys) for keys in own])),
        "distance": _distance(shown, facts, at),
        "new_category": float(new[at].mean()),
        "majority": float(np.mean([majority(keys) for keys in own])),
        "gini": gini(exposure),
        "top_1pct": top_share(exposure),
        "new_brands": float((shown.time_ms[at] - facts.brand_begun_ms[item] <= NEW_BRAND_MS).mean()),
        "merchants": float(facts.of_merchant[item].sum() / rooms) if rooms else np.nan,
        "cold": float(is_cold[at].mean()),
        "load": float(shown.sells[at].mean()),
        "explored": float(shown.explored[at].mean()),
    }


def discovered(shown: Shown, begun_ms: dict[str, int], few: int) -> dict[str, bool]:
    """Of items by when they began, which were shown ``few`` times within their first day."""
    codes = {name: code for code, name in enumerate(shown.items)}
    begun = np.array([begun_ms.get(name, -DAY_MS) for name in shown.items])
    early = shown.time_ms - begun[shown.item] < DAY_MS
    counts = np.bincount(shown.item[early], minlength=len(shown.items))
    return {name: name in codes and int(counts[codes[name]]) >= few for name in begun_ms}
