"""How many nodes a request decides: what a table tells, beside what is found test by test."""

import lightgbm as lgb
import numpy as np
import pytest
from numba import njit

from features.types import ByteArray
from ranking.forest.compiler import Compiled, compile_trees
from ranking.forest.fold import OutcomeArray, Same, known_outcomes, same_of, worth_folding
from ranking.forest.model import TILE, Model
from ranking.forest.text import open_model, parse_tree
from ranking.forest.trees import Forest


def _text() -> str:
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.normal(size=(3000, 3)), rng.integers(0, 40, (3000, 2))])
    y = (x[:, 0] + (x[:, 3] % 3) + rng.normal(size=3000) > 1).astype(np.float64)
    options = {"objective": "binary", "num_leaves": 31, "verbose": -1, "num_threads": 1, "min_data_in_leaf": 5}
    data = lgb.Dataset(x, y, categorical_feature=[3, 4], params=options)
    return lgb.train(options, data, 30).model_to_string()


@njit(nogil=True)
def _known(model: Model, codes: ByteArray, stride: int, n: int, used: int) -> tuple[OutcomeArray, Same]:
    same = same_of(model, codes, stride, n)
    return known_outcomes(model, same, used), same


@pytest.mark.parametrize("shared", [(), (0,), (3,), (0, 1, 2), (0, 1, 3, 4), (0, 1, 2, 3, 4)])
def test_a_table_tells_how_many_nodes_are_decided(shared: tuple[int, ...]) -> None:
    text = _text()
    features, blocks = open_model("one", text)
    width = len(features)
    compiled: Compiled = compile_trees([[parse_tree("a tree", block, width) for block in blocks]], features)
    nodes, below = compiled.arrays.nodes, compiled.arrays.nodes_below
    rng = np.random.default_rng(len(shared))
    rows = np.column_stack([0.2 * rng.normal(size=(1500, 3)), rng.integers(0, 40, (1500, 2))]).astype(np.float32)
    rows[:, list(shared)] = rows[0, list(shared)]
    coded = Forest.from_model_texts({"one": text}).coded(rows)
    stride = coded.table.shape[1]
    outcomes, same = _known(compiled.native, coded.table.ravel(), stride, coded.n, len(nodes.test_column))
    tests = nodes.asks
    decided = int((outcomes[tests] < 0).sum())
    told = sum(int(row[low] + row[-1] - row[high]) for row, low, high in zip(below, same.low, same.high, strict=False))
    told += sum(int(row[-1]) for row, place in zip(below[len(same.low) :], same.places, strict=True) if place >= 0)
    assert told == decided
    assert decided == len(tests) if len(shared) == width else decided < len(tests)
    tiles = -(-coded.n // TILE)
    assert worth_folding(below, same, coded.n) == (decided * tiles > 1.5 * len(tests))
