"""A page's items as an answer shows them: what the catalog says of each, what it is worth, and why it is there."""

import math
from typing import NamedTuple

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


class _Face(msgspec.Struct, frozen=True, gc=False, tag="item"):
    """What is shown of a catalog row; the rest of it is not read."""

    item_id: str
    kind: Kind
    title: str = ""
    author_id: str = ""
    category: str = ""
    price: int = 0


_FACES = msgspec.json.Decoder(list[_Face])

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


class Told(NamedTuple):
    """What an answer says of items (n,) beside the catalog, each in a column."""

    value: list[float]
    source: list[str]
    why: list[str]
    terms: list[dict[str, float]]
    heads: list[dict[str, float]]
    features: list[dict[str, float | None]]
    propensity: list[float]
    boosted: list[bool]
    sells: list[bool]


def shown(payloads: bytes, told: Told) -> tuple[FeedItem, ...]:
    """The items of catalog rows (n,), given as one JSON array, each with its value and what that is the sum of."""
    faces = _FACES.decode(payloads)
    return tuple(
        [
            FeedItem(
                item_id=face.item_id,
                kind=face.kind,
                title=face.title,
                author_id=face.author_id,
                category=face.category,
                price=face.price,
                value=value,
                terms=terms,
                heads=heads,
                source=source,
                why=why,
                propensity=propensity,
                boost_spent=float(boosted),
                sells=sells,
                features=features,
            )
            for face, value, source, why, terms, heads, features, propensity, boosted, sells in zip(
                faces, *told, strict=True
            )
        ]
    )


def show(
    generation: Generation, scored: Scored, page: Page, *, explain: bool, source: str = ""
) -> tuple[FeedItem, ...]:
    """The items of a page as an answer shows them."""
    at, batch, heads = page.at, scored.batch, generation.ranker.heads
    names = heads + generation.decisions.names
    found = [source] * len(at) if source else [generation.recall.names[one] for one in batch.source[at].tolist()]
    for slot in np.flatnonzero(np.isin(at, [*page.drawn])) if page.drawn else ():
        found[slot] = exploration.SOURCE
    known = explain and batch.features.shape[1] > 0
    lifts = lifted(scored, at).tolist()
    told = Told(
        value=scored.value[at].tolist(),
        source=found,
        why=[why_of(*one) for one in zip(found, page.near or ("",) * len(at), lifts, strict=True)],
        terms=[dict(zip(names, terms, strict=True)) for terms in scored.terms[at].tolist()],
        heads=[dict(zip(heads, odds, strict=True)) for odds in scored.probabilities[at].tolist()],
        features=_explained(generation, batch.features[at]) if known else [{} for _ in found],
        propensity=[page.drawn.get(one, 1.0) for one in at.tolist()],
        boosted=lifts,
        sells=batch.decided.sells[at].tolist(),
    )
    return shown(page.payloads, told)


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
