"""Training: what is learned from, that it is reproducible, and that nothing knows the future."""

import re
from dataclasses import replace
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pytest

from features.columns import Category, Column
from features.errors import FeatureError, TrainingError
from features.factors import Factors
from features.history import read_history, slates_of
from features.logs.log import DAY_MS, Stored
from features.reader import Reader
from features.records import Action, Event, Item, Kind, Record, User
from features.replay import Readers, moments_of, replay
from features.schema import FeatureSet
from ranking.bundles.bundle import Bundle, load
from ranking.bundles.pointer import current
from ranking.bundles.ranker import BundleRanker
from tests.random_log import MemoryLog
from training.baselines.systems import BASELINES
from training.judging.evaluate import evaluate, to_json
from training.learning.audit import audit
from training.learning.examples import choose_codes, default_features, last_day_ms, slices_of
from training.learning.labels import HEADS, label
from training.learning.pipeline import learn
from training.learning.recipe import Recipe
from training.learning.table import MOST_CUTS, bins_of
from training.one_call import TrainResult, train

UTC_OFFSET_MS = 8 * 3_600_000
MIDNIGHT_MS = 19_098 * DAY_MS - UTC_OFFSET_MS
ACTS = (Action.CLICK, Action.LIKE, Action.WATCH)


def taste_log(seed: int = 0, slates: int = 2_400, days: int = 4) -> MemoryLog:
    """People of two tastes see videos and products of two categories; they click what is to their taste."""
    rng = np.random.default_rng(seed)
    kinds = [Kind.VIDEO, Kind.PRODUCT]
    records: list[tuple[int, Record]] = [
        (MIDNIGHT_MS, Item(f"i{i}", MIDNIGHT_MS, kinds[i % 2], f"标题{i % 4}", f"a{i % 10}", category=f"c{i // 2 % 2}",
                           duration_ms=20_000, live_from_ms=MIDNIGHT_MS - i * DAY_MS))
        for i in range(40)
    ]  # fmt: skip
    records += [(MIDNIGHT_MS, User(f"u{u}", MIDNIGHT_MS, gender="fm"[u % 2])) for u in range(80)]
    moments = np.sort(rng.integers(MIDNIGHT_MS, MIDNIGHT_MS + days * DAY_MS, slates))
    for slate, now_ms in enumerate(moments.tolist()):
        user = int(rng.integers(80))
        for place, item in enumerate(rng.choice(40, 4, replace=False).tolist()):
            at, fits = now_ms + place * 1000, user % 2 == item // 2 % 2
            draws = rng.random(3) < np.array([0.6, 0.1, 1.0]) * (1.0 if fits else 0.4)
            watched = int(rng.exponential(15_000 if fits else 6_000))
            done = [(Action.IMPRESSION, 0), *((a, watched) for a, hit in zip(ACTS, draws, strict=True) if hit)]
            for action, value in done:
                name = f"{slate}-{item}-{action}"
                event = Event(name, at, f"i{item}", action, f"u{user}", "", value, f"r{slate}")
                records.append((at + 500 * (action is not Action.IMPRESSION), event))
    records.sort(key=lambda pair: pair[0])
    return MemoryLog([Stored(i, at, record) for i, (at, record) in enumerate(records)], 8192)


@pytest.fixture(scope="module")
def log() -> MemoryLog:
    return taste_log()


@pytest.fixture(scope="module")
def trained(log: MemoryLog, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    return train(log, tmp_path_factory.mktemp("bundles"))


@pytest.fixture(scope="module")
def bundle(trained: TrainResult) -> Bundle:
    return load(current(trained.place.parent))


def test_training_ends_where_the_last_day_of_the_log_begins(log: MemoryLog, trained: TrainResult) -> None:
    assert last_day_ms(log, UTC_OFFSET_MS) == trained.slices.until_ms == MIDNIGHT_MS + 3 * DAY_MS
    assert trained.rows["train"] > 4 * trained.rows["stop"] > 0
    assert trained.audited > 0


def test_two_runs_with_one_seed_give_one_version_and_another_seed_another(
    log: MemoryLog, trained: TrainResult, tmp_path: Path
) -> None:
    assert train(log, tmp_path).version == trained.version
    assert train(log, tmp_path, Recipe(seed=1)).version != trained.version


def test_what_comes_after_the_end_of_training_changes_nothing(
    log: MemoryLog, trained: TrainResult, tmp_path: Path
) -> None:
    until_ms = trained.slices.until_ms
    other = MemoryLog([stored for stored in log.stored if stored.received_ms < until_ms], 8192)
    other.append([Event("late", until_ms, "i0", Action.IMPRESSION, "u0")], until_ms)
    assert train(other, tmp_path, Recipe(until_ms=until_ms)).version == trained.version


def test_no_window_closes_after_the_end_of_the_log(log: MemoryLog, bundle: Bundle, tmp_path: Path) -> None:
    last_ms = log.stored[-1].received_ms
    assert train(log, tmp_path, Recipe(until_ms=last_ms + DAY_MS)).slices.until_ms == last_ms + 1
    far, here = (evaluate(log, bundle, until_ms=end_ms, resamples=1) for end_ms in (last_ms + DAY_MS, None))
    assert [row.slates for row in far] == [row.slates for row in here]


def test_no_impression_is_in_two_slices_and_none_is_learned_from_before_its_window_closed(log: MemoryLog) -> None:
    history = read_history(log)
    slices = slices_of(history, None, MIDNIGHT_MS + 3 * DAY_MS)
    labels = label(history, slates_of(history), slices.windows_ms)
    for head in HEADS:
        parts = [slices.train(labels, head), slices.stop(labels, head), slices.calibrate(labels, head)]
        assert np.sum(parts, axis=0).max() == 1
        for part, end_ms in zip(parts, (slices.stop_ms, slices.calibrate_ms, slices.until_ms), strict=True):
            assert (labels.ends[part] + slices.windows_ms[head] <= end_ms).all()
            assert part.any()


def test_every_threshold_of_every_head_is_a_cut_of_the_one_grid(bundle: Bundle) -> None:
    assert max(map(len, bundle.bins)) <= 254
    for text in bundle.models.values():
        trees = text.split("\nTree=")[1:]
        assert trees
        for tree in trees:
            fields = dict(re.findall(r"^(\w+)=(.*)$", tree, re.MULTILINE))
            splits = zip(
                *(fields.get(k, "").split() for k in ("split_feature", "threshold", "decision_type")), strict=True
            )
            for feature, threshold, decision in splits:
                is_code = int(decision) & 1
                # A split between NaN and all that is known has no cut.
                assert is_code or float(threshold) in bundle.bins[int(feature)] or float(threshold) > 1e299


def test_bins_are_of_equal_mass_and_pass_over_what_is_not_a_number() -> None:
    rng = np.random.default_rng(0)
    column = rng.normal(size=50_000).astype(np.float32)
    column[:100], column[100:200] = np.nan, np.inf
    few = rng.integers(0, 5, 50_000).astype(np.float32)
    cuts, steps, codes = bins_of(np.stack([column, few, few], axis=1), [2])
    counts = np.histogram(column[200:], [-np.inf, *cuts, np.inf])[0]
    assert len(cuts) <= MOST_CUTS + 2
    assert counts.max() <= 2 * 50_000 / MOST_CUTS
    assert [c for c in steps if c > 0.1] == [0.5, 1.5, 2.5, 3.5]
    assert codes == ()


def test_heads_without_both_outcomes_are_dropped_by_name(trained: TrainResult, bundle: Bundle) -> None:
    assert "0 positives" in trained.dropped["gift"]
    assert set(trained.dropped) | set(bundle.heads) == set(HEADS)
    assert {"click", "like", "complete", "long_view"} <= set(bundle.heads)


def test_a_log_without_outcomes_cannot_be_trained_on(tmp_path: Path) -> None:
    shown = [
        s for s in taste_log(slates=200).stored if not isinstance(s.record, Event) or s.record.action == "impression"
    ]
    silent = MemoryLog([Stored(i, s.received_ms, s.record) for i, s in enumerate(shown)])
    with pytest.raises(TrainingError, match="No head"):
        train(silent, tmp_path)


def test_a_log_without_impressions_or_with_few_says_so(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no impression"):
        train(MemoryLog([]), tmp_path)
    with pytest.raises(TrainingError, match="200 are the least"):
        train(taste_log(slates=20), tmp_path)


@pytest.mark.parametrize(
    ("column", "hint"),
    [
        (Column("item.prise"), "item.price"),
        (Column("item.brnd"), 'type = "category", source = "item.brand"'),
        (Category("item.brnd"), 'type = "category", source = "item.brand"'),
        (Column("item.brand"), 'type = "category", source = "item.brand"'),
        (Category("item.mod"), 'type = "category", source = "item.mood"'),
        (Column("user.heigt"), 'type = "column", source = "user.height"'),
        (Column("item.zzz"), "Leave it out until the catalog has it"),
    ],
)
def test_a_field_that_nobody_has_is_answered_with_the_nearest(column: Column | Category, hint: str) -> None:
    one = Stored(0, 0, Item("i", 0, Kind.VIDEO, attributes={"mood": "calm"}))
    two = Stored(1, 0, User("u", 0, attributes={"height": 1.8}))
    known = Column("user.height"), Category("item.mood"), Column("item.price"), Category("user.gender")
    with pytest.raises(FeatureError, match=re.escape(hint)) as error:
        learn(MemoryLog([one, two]), Recipe(until_ms=1, feature_set=FeatureSet((*known, column))))
    assert column.source in error.value.what


def test_a_new_item_stands_near_those_of_its_author_category_and_words(bundle: Bundle) -> None:
    fresh = [Item(f"new{i}", 0, Kind.VIDEO, f"标题{2 * i}", f"a{2 * i}", category=f"c{i}") for i in range(2)]
    vectors = bundle.factors.vectors_of(fresh)
    known = dict(zip(bundle.factors.item_names, bundle.factors.items, strict=True))
    lengths = np.linalg.norm(bundle.factors.items, axis=1)
    assert (np.linalg.norm(vectors, axis=1) > 0.2 * np.median(lengths)).all()
    assert (np.linalg.norm(vectors, axis=1) < 2 * lengths.max()).all()
    alike = np.array([known[f"i{i}"] @ vectors[0] for i in range(40)])
    of_category_0 = np.array([i // 2 % 2 == 0 for i in range(40)])
    assert alike[of_category_0].mean() > alike[~of_category_0].mean()


def test_the_audit_passes_what_was_known_and_names_the_column_that_was_not(log: MemoryLog) -> None:
    history = read_history(log)
    slates, feature_set = slates_of(history), default_features(history)
    codes = choose_codes(history, feature_set, history.last_ms)
    readers = Readers.always(Reader(feature_set, codes, Factors.empty()))
    table, moments = replay(log, history, slates, readers), moments_of(history, slates)
    assert audit(log, readers, table, moments) > 0
    leaked = table.copy()
    column = feature_set.names.index("item.click/impression@7d")
    clicked = label(history, slates).of("click")
    leaked[:, column] = np.where(clicked, leaked[:, column] + 1e-6, leaked[:, column])
    with pytest.raises(TrainingError, match=r"'item\.click/impression@7d' of the slate of user 'u"):
        audit(log, readers, leaked, moments)


def test_the_audit_catches_features_of_a_later_moment(log: MemoryLog) -> None:
    history = read_history(log)
    slates, feature_set = slates_of(history), default_features(history)
    readers = Readers.always(Reader(feature_set, choose_codes(history, feature_set, history.last_ms), Factors.empty()))
    late = replace(slates, read_offset=np.minimum(slates.read_offset + 5, history.end))
    with pytest.raises(TrainingError, match="not what was known"):
        audit(log, readers, replay(log, history, late, readers), moments_of(history, slates))


def test_ours_beats_chance_and_all_systems_stand_in_one_table(log: MemoryLog, bundle: Bundle) -> None:
    rows = evaluate(log, bundle, baselines=BASELINES, resamples=20)
    found = {(row.system, row.head, row.kind, row.metric): row for row in rows if row.slice == "all"}
    assert {row.system for row in rows} >= {"huozhao", "log", "watch_rank", *BASELINES}
    assert {row.kind for row in rows} == {"all", "video", "product"}
    click = found["huozhao", "click", "all", "gauc"]
    assert click.low > 0.55
    assert click.pairs == found["random", "click", "all", "gauc"].pairs > 0
    assert 0.7 < found["huozhao", "click", "all", "slope"].value < 1.3
    assert found["huozhao", "click", "all", "gauc_diff_vs_popularity"].p_value is not None
    assert found["huozhao", "value", "all", "ndcg5"].value > found["random", "value", "all", "ndcg5"].value
    assert ("random", "click", "all", "logloss") not in found
    assert set(re.findall(rb'"(\w+)":', to_json(rows[:1]))) >= {
        *(b"rows", b"system", b"head", b"kind", b"slice", b"metric", b"value", b"low", b"high"),
        *(b"positives", b"slates", b"pairs"),
    }


def test_a_bundle_is_not_judged_on_what_it_was_trained_on(log: MemoryLog, bundle: Bundle) -> None:
    with pytest.raises(TrainingError, match="before training ended"):
        evaluate(log, bundle, since_ms=bundle.trained.until_ms - 1)
    with pytest.raises(TrainingError, match="No slate"):
        evaluate(log, bundle, since_ms=MIDNIGHT_MS + 30 * DAY_MS)


def test_the_ranker_says_what_lightgbm_and_the_calibrators_say(bundle: Bundle) -> None:
    rng = np.random.default_rng(1)
    width = len(bundle.feature_set.columns)
    features = rng.choice([np.nan, 0.0, 1.0, 3.0, 0.3], (64, width)).astype(np.float32)
    kinds = rng.choice([0, 1, 2, 3], 64).astype(np.uint8)
    said = BundleRanker(bundle).probabilities(features, kinds)
    for column, (head, text) in enumerate(bundle.models.items()):
        margins = np.asarray(lgb.Booster(model_str=text).predict(features, raw_score=True), np.float64)
        for row, kind in enumerate(kinds.tolist()):
            calibrator = bundle.heads[head].calibrators.get(kind)
            expected = float(calibrator.predict(margins[row : row + 1])[0]) if calibrator else 0.0
            assert said[row, column] == expected


def test_no_room_was_ever_shown_so_no_head_knows_rooms(bundle: Bundle) -> None:
    for head in bundle.heads.values():
        assert head.base_rates[1] == 0
        assert set(head.calibrators) == {2, 3}


def test_more_of_an_items_own_rate_never_lowers_the_head(bundle: Bundle) -> None:
    rng = np.random.default_rng(2)
    width = len(bundle.feature_set.columns)
    features = np.tile(rng.random((20, 1, width)).astype(np.float32), (1, 11, 1))
    features[:, :, bundle.feature_set.names.index("item.click/impression@7d")] = np.linspace(0, 1, 11)
    booster = lgb.Booster(model_str=bundle.models["click"])
    margins = np.asarray(booster.predict(features.reshape(-1, width), raw_score=True)).reshape(20, 11)
    assert (np.diff(margins, axis=1) >= -1e-9).all()
    assert (margins[:, -1] > margins[:, 0]).any()
