"""Joining models as text, and what a data scientist declares in files."""

from pathlib import Path

import lightgbm as lgb
import msgspec
import numpy as np
import pytest

from features.errors import FeatureError, HuozhaoError, PolicyError
from features.standard import standard
from features.types import FloatArray
from ranking.forest.trees import Forest
from ranking.value import Weights
from training.declared import read_features, read_objective
from training.learning.models import averaged, joined, stacked, trees_of


@pytest.fixture(scope="module")
def features() -> FloatArray:
    rng = np.random.default_rng(0)
    table = rng.normal(size=(2_000, 4)).astype(np.float32)
    table[::7, 1] = np.nan
    table[:, 3] = rng.integers(0, 9, len(table))
    return table


@pytest.fixture(scope="module")
def texts(features: FloatArray) -> list[str]:
    rng = np.random.default_rng(1)
    y = features[:, 0] + features[:, 3] % 3 + rng.normal(size=len(features)) > 1
    params = {"objective": "binary", "num_leaves": 9, "verbosity": -1, "feature_fraction": 0.5, "num_threads": 1}
    data = lgb.Dataset(features, y, categorical_feature=[3])
    return [
        lgb.train(params | {"seed": seed}, data, rounds).model_to_string() for seed, rounds in ((0, 7), (1, 4), (2, 9))
    ]


def raw(text: str, features: FloatArray) -> FloatArray:
    return np.asarray(lgb.Booster(model_str=text).predict(features, raw_score=True))


def test_joined_models_say_the_sum_and_averaged_ones_the_mean(texts: list[str], features: FloatArray) -> None:
    each = [raw(text, features) for text in texts]
    np.testing.assert_allclose(raw(joined(texts), features), np.sum(each, axis=0), atol=1e-12)
    np.testing.assert_allclose(raw(averaged(texts), features), np.mean(each, axis=0), atol=1e-12)
    assert averaged(texts[:1]) == texts[0]


def test_a_stack_says_shares_of_models_beside_a_line_and_leaves_out_what_has_none(
    texts: list[str], features: FloatArray
) -> None:
    line, *members = texts
    each = [raw(text, features) for text in texts]
    said = stacked([*members, line], [0.4, 0.3, 0.5], line)
    np.testing.assert_allclose(raw(said, features), 1.5 * each[0] + 0.4 * each[1] + 0.3 * each[2], atol=1e-12)
    without = stacked([*members, line], [0.4, 0.0, 0.0], "")
    np.testing.assert_allclose(raw(without, features), 0.4 * each[1], atol=1e-12)
    assert len(trees_of(without)) == len(trees_of(members[0]))
    assert stacked([line], [0.7], "") == line


def test_joined_trees_are_compiled_to_the_bit(texts: list[str], features: FloatArray) -> None:
    for text in (joined(texts), averaged(texts)):
        forest = Forest.from_model_texts({"click": text})
        assert forest.compiled
        assert np.array_equal(forest.raw(features)[:, 0], raw(text, features))


def test_the_first_trees_of_an_average_are_the_first_of_all_models(texts: list[str]) -> None:
    splits = [[tree.split("\nleaf_value", 1)[0] for tree in trees_of(text)] for text in (*texts, averaged(texts))]
    assert splits[3][:3] == [splits[0][0], splits[1][0], splits[2][0]]
    assert len(splits[3]) == sum(len(each) for each in splits[:3])


def test_features_are_read_from_toml_and_json(tmp_path: Path) -> None:
    toml, json = tmp_path / "features.toml", tmp_path / "features.json"
    toml.write_text(
        'columns = [\n  { type = "rate", of = "item", action = "click", half_life = "1d", prior = 10 },\n'
        '  { type = "column", source = "item.price" },\n]\n'
    )
    assert read_features(toml).names == ("item.click/impression@1d", "item.price")

    json.write_bytes(msgspec.json.encode(standard({}, {})))
    assert read_features(json) == standard({}, {})


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ('columns = [{ type = "rat", of = "item", action = "click" }]', "'rate'"),
        ('columns = [{ type = "rate", of = "item", action = "clik" }]', "'click'"),
        ('columns = [{ type = "rate", of = "item", action = "click", half_live = "1d" }]', "'half_life'"),
        ('colums = [{ type = "column", source = "item.price" }]', "'columns'"),
        ('columns = [{ type = "rate", of = "item", action = "click", prior = "much" }]', "prior"),
        ("columns = 3", "columns"),
        ("columns = [", "TOML"),
    ],
)
def test_what_is_not_known_is_answered_by_the_nearest_that_is(tmp_path: Path, text: str, hint: str) -> None:
    file = tmp_path / "features.toml"
    file.write_text(text)
    with pytest.raises(FeatureError, match=hint):
        read_features(file)


def test_an_objective_keeps_the_order_of_importance(tmp_path: Path) -> None:
    file = tmp_path / "objective.toml"
    file.write_text("complete = 5\nclick = 0.5\n")
    assert read_objective(file) == Weights(complete=5.0, click=0.5)
    for text, hint in (("like = 9.0", "order"), ("complet = 5.0", "'complete'"), ("like = true", "number")):
        file.write_text(text)
        with pytest.raises(PolicyError, match=hint):
            read_objective(file)
    with pytest.raises(HuozhaoError, match="cannot be read"):
        read_objective(tmp_path / "none.toml")
