"""Whom a platform shows: how exposure is spread over those who own what is shown, from pages that were served."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from features.records import Item, Kind, Served
from features.types import DoubleArray

TOP = 0.01


def gini(exposure: DoubleArray) -> float:
    """How unequal exposure (n,) is: 0 all alike, towards 1 all with one; NaN without any."""
    total, n = exposure.sum(), len(exposure)
    if not total:
        return float("nan")
    ranks = np.arange(1, n + 1)
    return float((2 * ranks - n - 1) @ np.sort(exposure) / (n * total))


def top_share(shown: DoubleArray, top: float = TOP) -> float:
    """The share of exposure (n,) that the most shown hundredth has, at least one of them; NaN without any."""
    total = shown.sum()
    first = max(1, round(top * len(shown)))
    return float(np.sort(shown)[::-1][:first].sum() / total) if total else float("nan")


def owner_of(item: Item) -> str:
    """Whose item it is: the author's, of a product the merchant's; "" nobody's."""
    return item.author_id or item.merchant_id


def brands_begun(catalog: Mapping[str, Item]) -> dict[str, int]:
    """When each brand first appeared, in ms."""
    begun: dict[str, int] = {}
    for item in catalog.values():
        if item.brand_id:
            at_ms = item.live_from_ms or item.ts_ms
            begun[item.brand_id] = min(at_ms, begun.get(item.brand_id, at_ms))
    return begun


class Exposure(NamedTuple):
    """Shares of all slots served. ``gini`` and ``top_1pct`` are over the owners that the catalog has, shown or not.

    An owner is the author, of a product the merchant. ``new_brands`` are slots of products whose brand first appeared
    no longer ago than asked; ``merchants`` slots of rooms of merchants among those of all rooms, NaN without rooms.
    """

    slots: int
    gini: float
    top_1pct: float
    new_brands: float
    merchants: float


def exposure(pages: Iterable[Served], catalog: Mapping[str, Item], new_ms: int) -> Exposure:
    """How the slots of pages were spread.

    Parameters
    ----------
    pages : iterable of Served
    catalog : mapping of str to Item
        By item id; a slot of an item that is not in it counts for nobody.
    new_ms : int
        For how long a brand is new, from the first moment that one of its products was on sale.
    """
    owners = {name: at for at, name in enumerate(sorted({owner_of(item) for item in catalog.values()} - {""}))}
    begun = brands_begun(catalog)
    shown = np.zeros(len(owners), np.float64)
    slots = new = rooms = of_merchants = 0
    for page in pages:
        for slot in page.slots:
            slots += 1
            item = catalog.get(slot.item_id)
            if item is None:
                continue
            if owner := owner_of(item):
                shown[owners[owner]] += 1
            new += bool(item.brand_id) and page.ts_ms - begun[item.brand_id] <= new_ms
            rooms += item.kind == Kind.ROOM
            of_merchants += item.kind == Kind.ROOM and item.room_type == "merchant"
    return Exposure(
        slots,
        gini(shown),
        top_share(shown),
        new / slots if slots else np.nan,
        of_merchants / rooms if rooms else np.nan,
    )
