"""The FeatureSet that serves where nobody declared another."""

from features.columns import (
    CONTEXT_CATEGORIES,
    CONTEXT_NUMBERS,
    FACTORS,
    Age,
    Category,
    Column,
    Cosine,
    Count,
    Feature,
    InContext,
    Length,
    Product,
    Rate,
    Recency,
    Taste,
)
from features.layout import PAIRS, USER_CATEGORIES
from features.schema import FeatureSet

_RATED = ("click", "complete", "long_view", "like")


def standard(item_attributes: dict[str, type], user_attributes: dict[str, type]) -> FeatureSet:
    """The default FeatureSet: what serves a mixed feed well, plus one column for every attribute the catalog has.

    Parameters
    ----------
    item_attributes, user_attributes : dict of str to type
        Names of attributes; ``str`` becomes a Category, ``float`` a Column.
    """
    columns: list[Feature] = [
        *(Column(f"item.{name}") for name in ("price", "duration_ms", "viewers")),
        *(Category(f"item.{name}") for name in ("kind", "category", "brand", "author", "shop", "room_type")),
        Age("item.live_from_ms"),
        Age("item.started_ms"),
        *(Category(f"user.{name}") for name in USER_CATEGORIES),
        Age("user.registered_ms"),
        *(InContext(name) for name in CONTEXT_NUMBERS + CONTEXT_CATEGORIES),
        *(Rate("item", a, half_life="1d", prior=10) for a in _RATED),
        *(Rate("item", a, half_life="7d", prior=20) for a in (*_RATED, "order", "hide")),
        *(Rate(of, a, half_life="7d", prior=20) for of in ("author", "category") for a in _RATED),
        *(Rate(of, "order", per="click", half_life="7d", prior=50) for of in ("merchant", "brand", "item")),
        *(Rate(of, "refund", per="order", half_life="7d", prior=20) for of in ("merchant", "item")),
        *(Rate("user", a, half_life="7d", prior=10) for a in (*_RATED, "order")),
        *(Rate(pair, a, half_life="7d", prior=5) for pair in PAIRS for a in ("click", "complete", "like")),
        *(Count(of, "impression", half_life="7d") for of in ("user", "item", *PAIRS)),
        Count("item", "impression", half_life="1h"),
        Count("author", "order", half_life="1h"),
        Recency("user", "impression"),
        Recency("item", "impression"),
        Recency("user*author", "watch"),
        *(Cosine("user.factors", right) for right in FACTORS),
        Product("user.factors", "item.factors"),
        Length("item.factors"),
        Taste(),
    ]
    for entity, attributes in (("item", item_attributes), ("user", user_attributes)):
        for name, form in sorted(attributes.items()):
            columns.append(Category(f"{entity}.{name}") if form is str else Column(f"{entity}.{name}"))
    return FeatureSet(tuple(columns))
