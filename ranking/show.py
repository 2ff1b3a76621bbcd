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
        features=features or {},
    )
