"""Whom a platform shows: how exposure is spread over those who own what is shown, from pages that were served."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from features.errors import TrainingError
from features.history import History, read_history
from features.layout import ACTION_CODE
from features.logs.log import DAY_MS, EventLog
from features.records import Item, Kind, Served
from features.types import DoubleArray

TOP = 0.01
NEW_BRAND_MS = 7 * DAY_MS
"""A brand is new for so long after the first of its products appeared."""
Follows = Mapping[tuple[str, str], int]
"""The offset at which a person first followed an author."""


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
    no longer ago than asked; ``merchants`` slots of rooms of merchants among those of all rooms, NaN without rooms;
    ``beyond_followers`` slots of authors whom the person did not follow yet, among those with an author and a person.
    """

    slots: int
    gini: float
    top_1pct: float
    new_brands: float
    merchants: float
    beyond_followers: float


FIGURES = {
    "gini": "Gini of exposure over owners",
    "top_1pct": "share of slots of the hundredth of owners shown most",
    "new_brands": "share of slots for brands under 7 days",
    "merchants": "share of rooms' slots for merchants' rooms",
    "beyond_followers": "share of slots of authors whom the person did not follow",
}
"""What each share is."""


def exposure_of(log: EventLog, since_ms: int | None = None, until_ms: int | None = None) -> Exposure:
    """How the slots of a log's pages were spread that were asked for from ``since_ms`` to before ``until_ms``.

    Raises
    ------
    TrainingError
        If no page was.
    """
    history = read_history(log, until_ms)
    pages = [page for page in history.served.values() if page.ts_ms >= (since_ms or 0)]
    if not pages:
        raise TrainingError("No page was served in this time.", "Choose another --since or --until.")
    return exposure(pages, history.catalog, NEW_BRAND_MS, follows_of(history))


def follows_of(history: History) -> dict[tuple[str, str], int]:
    """Who followed whom, and since which offset, by the authors that the catalog gives items at the end."""
    events, first = history.events, dict[tuple[str, str], int]()
    for at in np.flatnonzero(events.action == ACTION_CODE["follow"]).tolist():
        item = history.catalog.get(history.items[events.item[at]])
        if item is not None:
            first.setdefault((history.users[events.user[at]], item.author_id), int(events.offset[at]))
    return first


def exposure(
    pages: Iterable[Served], catalog: Mapping[str, Item], new_ms: int, follows: Follows = MappingProxyType({})
) -> Exposure:
    """How the slots of pages were spread.

    Parameters
    ----------
    pages : iterable of Served
    catalog : mapping of str to Item
        By item id; a slot of an item that is not in it counts for nobody.
    new_ms : int
        For how long a brand is new, from the first moment that one of its products was on sale.
    follows : mapping
        Who followed whom, see ``Follows``.
    """
    owners = {name: at for at, name in enumerate(sorted({owner_of(item) for item in catalog.values()} - {""}))}
    begun = brands_begun(catalog)
    shown = np.zeros(len(owners), np.float64)
    slots = new = rooms = of_merchants = met = followed = 0
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
            met += bool(page.user_id and item.author_id)
            followed += follows.get((page.user_id, item.author_id), page.read_offset) < page.read_offset
    return Exposure(
        slots,
        gini(shown),
        top_share(shown),
        new / slots if slots else np.nan,
        of_merchants / rooms if rooms else np.nan,
        1 - followed / met if met else np.nan,
    )
