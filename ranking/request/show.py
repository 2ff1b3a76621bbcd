"""A page's items as an answer shows them: what the catalog says of each, what it is worth, and why it is there."""

import math

import msgspec
import numpy as np

from features.records import Kind
from features.types import FloatArray, IntArray
from ranking.api import FeedItem
from ranking.mixing import exploration
from ranking.mixing.boosts import lifted
from ranking.mixing.mixer import best_first
from ranking.request.generation import Generation
from ranking.types import Page, Scored
from ranking.value import value_of


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


def show(
    generation: Generation, scored: Scored, page: Page, *, explain: bool, source: str = ""
) -> tuple[FeedItem, ...]:
    """The items of a page as an answer shows them."""
    at, batch, heads = page.at, scored.batch, generation.ranker.heads
    names = heads + generation.decisions.names
    found = [source] * len(at) if source else [generation.recall.names[one] for one in batch.source[at]]
    for slot in np.flatnonzero(np.isin(at, [*page.drawn])) if page.drawn else ():
        found[slot] = exploration.SOURCE
    drawn = [page.drawn.get(one, 1.0) for one in at.tolist()]
    known = explain and batch.features.shape[1] > 0
    features = _explained(generation, batch.features[at]) if known else [{}] * len(at)
    columns = (page.payloads, found, drawn, scored.value[at].tolist(), scored.terms[at].tolist())
    lifts = lifted(scored)[at].tolist()
    why = [why_of(*one) for one in zip(found, page.near or ("",) * len(at), lifts, strict=True)]
    marks = (lifts, batch.decided.sells[at].tolist(), why)
    return tuple(
        shown(
            payload,
            value,
            where,
            dict(zip(names, terms, strict=True)),
            dict(zip(heads, odds, strict=True)),
            row,
            propensity,
            boosted=boosted,
            sells=sells,
            why=why,
        )
        for payload, where, propensity, value, terms, odds, row, boosted, sells, why in zip(
            *columns, scored.probabilities[at].tolist(), features, *marks, strict=True
        )
    )


def given_up(generation: Generation, scored: Scored, at: IntArray) -> dict[str, float]:
    """What a slot of a page lost on average of the value by heads alone, against the best by that."""
    if not len(at):
        return {}
    own, rows = value_of(scored.terms[:, : len(generation.ranker.heads)]), scored.batch.rows
    best, valued = (own[best_first(value, rows)[: len(at)]].mean() for value in (own, scored.value))
    return {"terms": float(best - valued), "page": float(valued - own[at].mean())}


def _explained(generation: Generation, features: FloatArray) -> list[dict[str, float | None]]:
    names = generation.reader.feature_set.names
    known = [[None if math.isnan(value) else value for value in row] for row in features.tolist()]
    return [dict(zip(names, row, strict=True)) for row in known]
