import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from features.errors import BundleError, RequestError
from ranking.forest.model import BAND
from ranking.forest.trees import Forest, ForestWarning

Params = dict[str, Any]
FEATURES = 5  # the last two are categorical where a model has categories
WRONG = [
    ("split_feature", "99"),
    ("left_child", "0"),
    ("right_child", "7000"),
    ("num_leaves", "3"),
    ("leaf_value", ""),
    ("decision_type", "14"),
]
SPECIAL = np.array(
    [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-36, -1e-36, 2e-35, 1e38, -0.5, -1.0, 3.7, 1e6, 3e9], np.float32
)


def rows_of(rng: np.random.Generator, n: int, rough: float, categories: int = 40) -> NDArray[np.float32]:
    x = rng.normal(size=(n, FEATURES)).astype(np.float32)
    x[:, 1] = np.round(x[:, 1] * 2)  # many equal values and zeros
    x[:, 3:] = rng.integers(0, categories, (n, 2))
    some = rng.random(x.shape) < rough
    x[some] = rng.choice(SPECIAL, int(some.sum()))
    return x


def train(x: NDArray[np.float32], y: NDArray[np.float64], trees: int, categorical: bool, params: Params) -> lgb.Booster:
    options = {"verbose": -1, "num_threads": 1, "min_data_in_leaf": 1, "min_data_in_bin": 1, **params}
    clean = x.copy()
    if categorical:
        clean[:, 3:] = np.abs(np.nan_to_num(clean[:, 3:], nan=0, posinf=0, neginf=0)) % 1000
    columns = [3, 4] if categorical else []
    dataset = lgb.Dataset(clean.astype(np.float64), y, categorical_feature=columns, params=options)
    return lgb.train(options, dataset, trees)


def expected(boosters: list[lgb.Booster], x: NDArray[np.float32], trees: int = -1) -> NDArray[np.float64]:
    wide = x.astype(np.float64)
    columns = [np.asarray(b.predict(wide, raw_score=True, num_iteration=trees, num_threads=1)) for b in boosters]
    return np.stack(columns, axis=1)


def forest_of(boosters: list[lgb.Booster]) -> Forest:
    return Forest.from_model_texts({f"head{i}": b.model_to_string() for i, b in enumerate(boosters)})


@st.composite
def model_params(draw: st.DrawFn) -> Params:
    return {
        "num_leaves": draw(st.sampled_from([2, 3, 8, 9, 31, 64, 65, 255])),
        "max_bin": draw(st.sampled_from([2, 15, 63, 255])),
        "use_missing": draw(st.booleans()),
        "zero_as_missing": draw(st.booleans()),
        "objective": draw(st.sampled_from(["regression", "binary", "poisson"])),
        "boosting": draw(st.sampled_from(["gbdt", "dart"])),
        "boost_from_average": draw(st.booleans()),
        "min_gain_to_split": draw(st.sampled_from([0.0, 0.0, 0.5])),
        "cat_smooth": 1.0,
        "min_data_per_group": 1,
        "max_cat_to_onehot": draw(st.sampled_from([1, 4, 64])),
        "feature_fraction": draw(st.sampled_from([0.6, 1.0])),
        "seed": 1,
    }


@settings(max_examples=150, deadline=None)
@given(
    heads=st.lists(st.tuples(model_params(), st.booleans(), st.integers(1, 6)), min_size=1, max_size=3),
    seed=st.integers(0, 2**31),
    n=st.sampled_from([8, 40, 300]),
    rough=st.sampled_from([0.0, 0.05, 0.4]),
)
def test_raw_scores_are_those_of_lightgbm_to_the_bit(
    heads: list[tuple[Params, bool, int]], seed: int, n: int, rough: float
) -> None:
    rng = np.random.default_rng(seed)
    x = rows_of(rng, n, rough)
    boosters = []
    for params, categorical, trees in heads:
        calm = np.clip(np.nan_to_num(x), -50, 50).astype(np.float64)
        y = np.abs(calm[:, 0] * 0.1 + np.cos(calm[:, 3]) + rng.normal(size=n) * 0.1)
        y = (y > 0.5).astype(np.float64) if params["objective"] == "binary" else y
        boosters.append(train(x, y, trees, categorical, params))
    forest = forest_of(boosters)
    unseen = np.concatenate([x, rows_of(rng, 150, 0.3, categories=90)])
    assert forest.compiled
    assert forest.n_trees == tuple(b.num_trees() for b in boosters)
    np.testing.assert_array_equal(forest.raw(unseen), expected(boosters, unseen), strict=True)
    np.testing.assert_array_equal(forest.raw(unseen, trees=2), expected(boosters, unseen, trees=2))


@settings(max_examples=60, deadline=None)
@given(
    heads=st.lists(st.tuples(model_params(), st.booleans(), st.integers(1, 6)), min_size=1, max_size=3),
    seed=st.integers(0, 2**31),
    n=st.sampled_from([1, 64, 513, 2200]),
    rough=st.sampled_from([0.0, 0.2]),
    roles=st.lists(st.sampled_from(["kept", "constant", "varying"]), min_size=FEATURES, max_size=FEATURES),
)
def test_codes_score_as_floats_do_whatever_is_kept_and_whatever_is_the_same_for_all(
    heads: list[tuple[Params, bool, int]], seed: int, n: int, rough: float, roles: list[str]
) -> None:
    rng = np.random.default_rng(seed)
    x = rows_of(rng, 300, rough)
    boosters = []
    for params, categorical, trees in heads:
        y = (np.cos(np.nan_to_num(x[:, 3], posinf=0, neginf=0)) + rng.normal(size=300) > 0).astype(np.float64)
        boosters.append(train(x, y, trees, categorical, params))
    forest = forest_of(boosters)
    asked = rows_of(rng, n, 0.2, categories=90)
    constant = [f for f, role in enumerate(roles) if role == "constant"]
    asked[:, constant] = asked[0, constant]
    columns = forest.columns_of([f for f, role in enumerate(roles) if role == "kept"])
    kept = forest.coded(asked).columns(columns)
    unread = asked.copy(order="F")
    unread[:, [role == "kept" for role in roles]] = np.nan
    coded = forest.coded(unread, columns, kept)
    want = expected(boosters, asked)
    np.testing.assert_array_equal(forest.score(coded), want, strict=True)
    np.testing.assert_array_equal(forest.score(coded, 2), expected(boosters, asked, 2))
    some = rng.permutation(n)[: n // 2]
    np.testing.assert_array_equal(forest.score(coded.at(some)), want[some], strict=True)


@pytest.fixture(scope="module")
def boosters() -> list[lgb.Booster]:
    rng = np.random.default_rng(7)
    x = rows_of(rng, 2000, 0.1)
    calm = np.clip(np.nan_to_num(x, nan=1), -50, 50).astype(np.float64)
    targets = [np.sin(k * (calm[:, 0] + calm[:, 1])) + calm[:, 3] % k for k in (2, 3)]
    return [train(x, target, 30, True, {"num_leaves": 63, "max_bin": 254}) for target in targets]


@pytest.fixture(scope="module")
def forest(boosters: list[lgb.Booster]) -> Forest:
    return forest_of(boosters)


@pytest.mark.parametrize("n", [0, 1, 63, 64, 65, 511, 512, 513, 1500])
def test_every_number_of_rows_is_scored(boosters: list[lgb.Booster], forest: Forest, n: int) -> None:
    x = rows_of(np.random.default_rng(n), 1500, 0.1)
    scores = forest.raw(x[:n])
    assert scores.shape == (n, 2)
    np.testing.assert_array_equal(scores, expected(boosters, x)[:n])


@pytest.mark.parametrize("trees", [1, 7, 30, 1000])
def test_a_prefix_of_the_trees_is_lightgbms_prefix(boosters: list[lgb.Booster], forest: Forest, trees: int) -> None:
    x = rows_of(np.random.default_rng(trees), 200, 0.1)
    np.testing.assert_array_equal(forest.raw(x, trees), expected(boosters, x, trees))


def test_heads_of_different_lengths_share_a_prefix() -> None:
    x = rows_of(np.random.default_rng(1), 100, 0.0)
    short, long = (train(x, x[:, 3].astype(np.float64) % 7, trees, False, {}) for trees in (2, 9))
    np.testing.assert_array_equal(forest_of([short, long]).raw(x, 5), expected([short, long], x, 5))


def test_sets_that_trees_of_several_bands_ask_for_are_tested_anew_in_each() -> None:
    rng = np.random.default_rng(23)
    x = rows_of(rng, 1500, 0.0, categories=6)
    targets = [(x[:, 3] % k) + rng.normal(size=1500) > 2 for k in (2, 3)]
    options = {"num_leaves": 15, "cat_smooth": 1.0, "min_data_per_group": 1, "max_cat_to_onehot": 1}
    of_two = [
        train(x, y.astype(np.float64), n, True, options) for y, n in zip(targets, (3 * BAND, 2 * BAND), strict=True)
    ]
    forest = forest_of(of_two)
    asked = rows_of(rng, 1200, 0.05, categories=7)
    for trees in (1, BAND - 1, BAND, BAND + 8, 2 * BAND + 1, 3 * BAND):
        np.testing.assert_array_equal(forest.raw(asked, trees), expected(of_two, asked, trees))
    asked[:, :3] = asked[0, :3]
    np.testing.assert_array_equal(forest.raw(asked), expected(of_two, asked))


def test_two_threads_score_as_one(forest: Forest) -> None:
    x = rows_of(np.random.default_rng(3), 3000, 0.1)
    whole = forest.raw(x)
    with ThreadPoolExecutor(2) as pool:
        for _ in range(20):
            halves = list(pool.map(forest.raw, [x[:1400], x[1400:]]))
            np.testing.assert_array_equal(np.concatenate(halves), whole)


def test_two_threads_score_shared_codes_as_one(forest: Forest) -> None:
    rows = forest.coded(rows_of(np.random.default_rng(17), 3000, 0.1))
    first, whole = forest.score(rows, 3), forest.score(rows)
    with ThreadPoolExecutor(2) as pool:
        for _ in range(20):
            some, every = pool.map(lambda trees: forest.score(rows, trees), [3, None])
            np.testing.assert_array_equal(some, first)
            np.testing.assert_array_equal(every, whole)


def test_more_than_255_known_categories_take_two_bytes() -> None:
    rng = np.random.default_rng(13)
    x = rows_of(rng, 6000, 0.0, categories=700)
    y = rng.normal(size=700)[x[:, 3].astype(np.int64)]
    options = {"cat_smooth": 1.0, "min_data_per_group": 1, "num_leaves": 255, "max_bin": 1000, "max_cat_threshold": 500}
    booster = train(x, y, 20, True, options)
    forest = forest_of([booster])
    asked = rows_of(rng, 2000, 0.1, categories=900)
    assert len(forest.columns_of([3])) == 2
    np.testing.assert_array_equal(forest.raw(asked), expected([booster], asked))
    asked[:, 3] = 650
    np.testing.assert_array_equal(forest.raw(asked), expected([booster], asked))


def test_a_request_that_answers_most_tests_alike_scores_as_lightgbm_does(boosters: list[lgb.Booster]) -> None:
    forest = forest_of(boosters)
    asked = rows_of(np.random.default_rng(14), 3000, 0.1)
    for constant in ([0, 1, 3], [0, 1, 2, 3, 4], [2]):
        folded = asked.copy()
        folded[:, constant] = folded[7, constant]
        np.testing.assert_array_equal(forest.raw(folded), expected(boosters, folded))
        np.testing.assert_array_equal(forest.raw(folded, 7), expected(boosters, folded, 7))


def test_features_are_neither_changed_nor_needed_writable(forest: Forest) -> None:
    x = rows_of(np.random.default_rng(4), 70, 0.1)
    before = x.copy()
    x.flags.writeable = False
    np.testing.assert_array_equal(forest.raw(x), forest.raw(before))
    np.testing.assert_array_equal(forest.raw(np.asfortranarray(before)), forest.raw(before))
    np.testing.assert_array_equal(x, before)


def test_values_next_to_a_threshold_or_to_zero_go_where_lightgbm_sends_them() -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(200, 1)).astype(np.float32)
    text = train_one_column(x, (x[:, 0] > 0).astype(np.float64)).model_to_string()
    tiny = np.array([0, 1e-45, 1e-36, 9.9e-36, 1e-35, 1.1e-35, -1e-36, -1e-35, -1.1e-35, 0.1, 0.3, -0.1], np.float32)[
        :, None
    ]
    for threshold in (
        "0",
        "-0",
        "1e-37",
        "-1e-37",
        "1e-35",
        "-1e-35",
        "1.05e-35",
        "0.1",
        "0.3",
        "-0.1",
        "1e300",
        "-1e300",
        "inf",
        "-inf",
    ):
        moved = resized(re.sub(r"threshold=\S+", f"threshold={threshold}", text))
        want = expected([lgb.Booster(model_str=moved)], tiny)
        np.testing.assert_array_equal(Forest.from_model_texts({"h": moved}).raw(tiny), want, err_msg=threshold)


def train_one_column(x: NDArray[np.float32], y: NDArray[np.float64]) -> lgb.Booster:
    return lgb.train({"verbose": -1, "num_threads": 1, "num_leaves": 2}, lgb.Dataset(x.astype(np.float64), y), 2)


def resized(text: str) -> str:
    """The text with its trees' sizes as they are; LightGBM ends the process when they are not."""
    blocks = re.split(r"(?=\nTree=|\nend of trees)", text)
    sizes = [len(block) for block in blocks if block.startswith("\nTree=")]
    return re.sub(r"tree_sizes=.*", "tree_sizes=" + " ".join(map(str, sizes)), text)


def test_more_than_255_cuts_of_a_feature_still_compile() -> None:
    rng = np.random.default_rng(6)
    x = rng.normal(size=(3000, FEATURES)).astype(np.float32)
    x[rng.random(x.shape) < 0.05] = np.nan
    y = np.nan_to_num(np.sin(9 * x[:, 0]))
    booster = train(x, y, 20, False, {"max_bin": 2000, "num_leaves": 255})
    forest = forest_of([booster])
    assert forest.compiled
    np.testing.assert_array_equal(forest.raw(x), expected([booster], x))


def test_a_constant_target_gives_a_constant() -> None:
    x = rows_of(np.random.default_rng(8), 50, 0.0)
    booster = train(x, np.full(50, 2.5), 3, False, {})
    forest = forest_of([booster])
    assert forest.compiled
    np.testing.assert_array_equal(forest.raw(x), expected([booster], x))


def test_a_model_without_trees_scores_zero() -> None:
    x = rows_of(np.random.default_rng(9), 50, 0.0)
    booster = lgb.Booster({"verbose": -1}, lgb.Dataset(x.astype(np.float64), x[:, 0].copy()))
    forest = forest_of([booster])
    assert forest.n_trees == (0,)
    np.testing.assert_array_equal(forest.raw(x), np.zeros((50, 1)))


@pytest.mark.parametrize(
    ("params", "reason"),
    [({"linear_tree": True}, "is linear"), ({"num_leaves": 300}, "has 300 leaves, more than 256")],
)
def test_what_cannot_be_compiled_is_scored_by_lightgbm_and_said_so(params: Params, reason: str) -> None:
    rng = np.random.default_rng(10)
    x = rng.normal(size=(1500, FEATURES)).astype(np.float32)
    bad = train(x, np.sin(5 * x[:, 0]).astype(np.float64), 3, False, params)
    good = train(x, x[:, 1].astype(np.float64), 3, False, {})
    with pytest.warns(ForestWarning, match=f"tree 0 of head 'head1' {reason}"):
        forest = forest_of([good, bad])
    assert not forest.compiled
    assert reason in forest.reason
    for trees in (None, 2):
        np.testing.assert_array_equal(forest.raw(x[:77], trees), expected([good, bad], x[:77], trees or -1))
    assert forest.raw(x[:0]).shape == (0, 2)
    with pytest.raises(RequestError, match="no codes"):
        forest.coded(x)
    assert len(forest.columns_of([0, 1])) == 0


def test_foreign_texts_are_refused_by_name(boosters: list[lgb.Booster]) -> None:
    text = boosters[0].model_to_string()
    wrong = [resized(re.sub(rf"{key}=\S+", f"{key}={value}", text, count=1)) for key, value in WRONG]
    odd = resized(text.replace("left_child=", "left_child=x ", 1))
    for broken in ("", "{}", text[: len(text) // 3], odd, *wrong):
        with pytest.raises(BundleError, match="buy"):
            Forest.from_model_texts({"buy": broken})
    with pytest.raises(BundleError, match=r"click.*several outputs"):
        Forest.from_model_texts({"click": text.replace("num_tree_per_iteration=1", "num_tree_per_iteration=3")})
    wider = text.replace("max_feature_idx=4", "max_feature_idx=5").replace("feature_names=", "feature_names=more ")
    with pytest.raises(BundleError, match="share"):
        Forest.from_model_texts({"a": text, "b": wider})
    with pytest.raises(BundleError, match="no head"):
        Forest.from_model_texts({})


@pytest.mark.parametrize("key", ["num_tree_per_iteration", "num_class", "max_feature_idx"])
@pytest.mark.parametrize("value", [None, "", "abc", "-1", "9" * 20, "9" * 5000, "1e5", "1 1"])
def test_a_damaged_header_is_refused_by_name(boosters: list[lgb.Booster], key: str, value: str | None) -> None:
    line = "" if value is None else f"{key}={value}\n"
    broken = re.sub(rf"(?m)^{key}=.*\n", line, boosters[0].model_to_string(), count=1)
    with pytest.raises(BundleError, match=f"header of head 'buy' is damaged.*{key}"):
        Forest.from_model_texts({"buy": broken})


@pytest.mark.parametrize("key", ["split_feature", "left_child", "right_child", "decision_type", "cat_threshold"])
def test_numbers_beyond_all_integers_are_refused_by_name(boosters: list[lgb.Booster], key: str) -> None:
    broken = resized(re.sub(rf"{key}=\S+", f"{key}={'9' * 20}", boosters[0].model_to_string(), count=1))
    with pytest.raises(BundleError, match="tree 0 of head 'buy' is damaged"):
        Forest.from_model_texts({"buy": broken})


def test_a_text_that_was_changed_on_its_way_is_refused_with_what_happened(boosters: list[lgb.Booster]) -> None:
    text = boosters[0].model_to_string()
    for broken, why in (
        (text.replace("\n", "\r\n"), "CR LF"),
        ("\ufeff" + text, "byte order mark"),
        (text.replace("\n", " \n"), "end in blanks"),
        ("\n" + text, "line 'tree'"),
        (text[: len(text) // 2], "end of trees"),
        (re.sub(r"tree_sizes=.*\n", "", text), "tree_sizes"),
        (re.sub(r"feature_names=\S+ ", "feature_names=", text), "names 4 features"),
    ):
        with pytest.raises(BundleError, match=f"(?s)'buy'.*{why}.*Save the model again"):
            Forest.from_model_texts({"buy": broken})


def test_sizes_of_trees_that_are_not_their_own_are_refused_before_lightgbm_reads_them(
    boosters: list[lgb.Booster],
) -> None:
    text = boosters[0].model_to_string()
    place = text.index("Tree=1\n")
    longer = text[:place] + text[place:].replace("num_leaves=", "num_leaves=0", 1)
    with pytest.raises(BundleError, match=f"Tree 1 of head 'buy', from byte {place} on, takes .* tree_sizes"):
        Forest.from_model_texts({"buy": longer})
    with pytest.raises(BundleError, match=r"Tree 0 of head 'buy'.* and 1 by tree_sizes"):
        Forest.from_model_texts({"buy": re.sub(r"tree_sizes=\d+", "tree_sizes=1", text)})
    with pytest.raises(BundleError, match="30 trees, and 29 tree_sizes"):
        Forest.from_model_texts({"buy": re.sub(r"tree_sizes=\d+ ", "tree_sizes=", text)})


def test_a_text_that_ends_lightgbms_process_does_not_end_this_one() -> None:
    x = np.random.default_rng(19).normal(size=(200, 1)).astype(np.float32)
    text = train_one_column(x, (x[:, 0] > 0).astype(np.float64)).model_to_string()
    left_to_lightgbm = resized(re.sub(r"threshold=\S+", "threshold=nan", text))
    for key in ("num_cat", "leaf_weight"):
        broken = resized(re.sub(rf"{key}=.*\n", "" if key == "num_cat" else f"{key}=x\n", left_to_lightgbm, count=1))
        with pytest.raises(BundleError, match="LightGBM cannot read the text of head 'buy'"):
            Forest.from_model_texts({"buy": broken})


@pytest.mark.parametrize(("words", "compiled"), [(2047, True), (2048, False)])
def test_more_categories_than_two_bytes_tell_apart_are_left_to_lightgbm(words: int, compiled: bool) -> None:
    rng = np.random.default_rng(20)
    x = rows_of(rng, 300, 0.0, categories=3)
    one = train(x, (x[:, 3] == 1).astype(np.float64), 1, True, {"num_leaves": 2, "min_data_per_group": 1})
    text = one.model_to_string()
    assert "num_cat=1" in text
    wide = re.sub(r"cat_boundaries=.*", f"cat_boundaries=0 {words}", text)
    wide = resized(re.sub(r"cat_threshold=.*", "cat_threshold=" + f"{2**32 - 1} " * (words - 1) + str(2**32 - 1), wide))
    if compiled:
        forest = Forest.from_model_texts({"h": wide})
    else:
        with pytest.warns(ForestWarning, match=r"feature 'Column_3' knows 65536 categories.*more than 65535"):
            forest = Forest.from_model_texts({"h": wide})
    assert forest.compiled == compiled
    asked = np.zeros((7, FEATURES), np.float32)
    asked[:, 3] = [0, 1, 32 * words - 1, 32 * words, 65534, 65535, 70000]
    want = expected([lgb.Booster(model_str=wide)], asked)
    assert len(np.unique(want)) == 2
    np.testing.assert_array_equal(forest.raw(asked), want)


def test_rows_of_another_form_are_refused(forest: Forest) -> None:
    x = rows_of(np.random.default_rng(11), 10, 0.0)
    for wrong in (x[:, :3], x.astype(np.float64), x[0]):
        with pytest.raises(RequestError, match="float32 rows of 5"):
            forest.raw(np.asarray(wrong))
    for trees in (0, -1, 1.5, "3", True):
        with pytest.raises(RequestError, match=f"first {trees!r} trees"):
            forest.raw(x, trees=cast("int", trees))


def test_a_second_process_needs_no_compiler(boosters: list[lgb.Booster], tmp_path: Path) -> None:
    path = tmp_path / "model.txt"
    path.write_text(boosters[0].model_to_string())
    script = (
        "import json, sys; from pathlib import Path\n"
        "from ranking.forest import kernel; from ranking.forest.trees import Forest\n"
        "Forest.from_model_texts({'h': Path(sys.argv[1]).read_text()})\n"
        "stats = kernel.raw_scores.stats\n"
        "print(json.dumps([sum(stats.cache_hits.values()), sum(stats.cache_misses.values())]))"
    )
    runs = [
        subprocess.run([sys.executable, "-c", script, str(path)], check=True, capture_output=True, text=True).stdout
        for _ in range(2)
    ]
    assert json.loads(runs[1]) == [1, 0]


def test_a_threshold_that_is_nan_is_left_to_lightgbm() -> None:
    x = np.random.default_rng(12).normal(size=(100, 1)).astype(np.float32)
    text = train_one_column(x, (x[:, 0] > 0).astype(np.float64)).model_to_string()
    odd = resized(re.sub(r"threshold=\S+", "threshold=nan", text))
    with pytest.warns(ForestWarning, match="threshold that is NaN"):
        forest = Forest.from_model_texts({"h": odd})
    np.testing.assert_array_equal(forest.raw(x), expected([lgb.Booster(model_str=odd)], x))
