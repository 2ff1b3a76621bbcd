"""An item as an answer shows it: what the catalog says of it, and why it is there."""

import msgspec

from features.records import Kind
from ranking.types import FeedItem


class _Face(msgspec.Struct, frozen=True, tag="item"):
    """What is shown of a catalog row; the rest of it is not read."""

    item_id: str
    kind: Kind
    title: str = ""
    author_id: str = ""
    category: str = ""
    price: int = 0


_FACE = msgspec.json.Decoder(_Face)

WHY = {
    "live": "A room on air that is near what you liked lately",
    "products": "A product that is near what you liked lately",
    "videos": "A video that is near what you liked lately",
    "follow": "By someone you follow or often watch",
    "trending": "Many people engage with it now",
    "fresh": "It began within the last day",
    "explore": "It is new, and shown by lot to learn who likes it",
    "request": "You named it",
    "similar": "It is near the item you named",
}
"""The reason that a person is given, by source."""


def why_of(source: str, near: str, boost: float) -> str:
    """Why an item is on a page, in a sentence; with what it is nearest to of what the person liked, where known."""
    what = WHY.get(source, "")
    if near and source != "explore":
        what += f": {near}" if "near" in what else f"; it is near {near}"
    return f"{what}. It is promoted." if boost else f"{what}." if what else ""


def shown(
    payload: bytes,
    value: float,
    source: str,
    terms: dict[str, float] | None = None,
    heads: dict[str, float] | None = None,
    features: dict[str, float | None] | None = None,
    propensity: float = 1.0,
    *,
    boosted: bool = False,
    sells: bool = False,
    why: str = "",
) -> FeedItem:
    """The item of a catalog row's JSON, with its value and what that is the sum of."""
    face = _FACE.decode(payload)
    return FeedItem(
        item_id=face.item_id,
        kind=face.kind,
        title=face.title,
        author_id=face.author_id,
        category=face.category,
        price=face.price,
        value=value,
        terms=terms or {},
        heads=heads or {},
        source=source,
        propensity=propensity,
        boost_spent=float(boosted),
        sells=sells,
        why=why,
        features=features or {},
    )
