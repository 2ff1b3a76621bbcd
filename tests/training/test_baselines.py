"""Baselines: each does what its source says, and none knows anything of the stretch it is judged on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from features.errors import TrainingError
from features.history import read_history
from features.logs.log import DAY_MS, Stored
from features.records import Action, Event, Item, Kind, Record, User
from features.types import DoubleArray
from ranking.bundles.bundle import Bundle, load
from ranking.bundles.pointer import current
from ranking.policy import default
from tests.random_log import MemoryLog
from tests.training.test_training import MIDNIGHT_MS, taste_log
from training.baselines.als import ALPHA, PENALTY, ImplicitFactors
from training.baselines.ease import PENALTY as RIDGE
from training.baselines.ease import ShallowAutoencoder
from training.baselines.fm import Machine
from training.baselines.neighbours import SHRINK, ItemNeighbours
from training.baselines.preferences import Preferences, score_pairs
from training.baselines.systems import AT_TRAINING, BASELINES
from training.judging.bootstrap import Bootstrap
from training.judging.evaluate import beside, evaluate, evaluate_read, judge
from training.judging.figures import Judged, Row, rows_of, to_json
from training.judging.recall import DEPTHS
from training.judging.retrieval import evaluate_retrieval
from training.judging.stretch import Read, Stretch
from training.learning.least_squares import solved
from training.one_call import train

TRAINED_MS = MIDNIGHT_MS + 3 * DAY_MS


@pytest.fixture(scope="module")
def log() -> MemoryLog:
    return taste_log(slates=900)


@pytest.fixture(scope="module")
def bundle(log: MemoryLog, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load(current(train(log, tmp_path_factory.mktemp("bundles")).place.parent))


@pytest.fixture(scope="module")
def judged(log: MemoryLog, bundle: Bundle) -> Judged:
    return judge(log, bundle, baselines=BASELINES)


def test_what_was_read_for_a_report_is_judged_as_if_read_for_it_alone(log: MemoryLog, bundle: Bundle) -> None:
    wide = beside(bundle, AT_TRAINING)
    read = Read.of(bundle, Stretch.read(log, bundle.trained.until_ms), lambda _done, _of: None, beside=wide)
    assert read.wide.shape[1] == len(read.columns.columns) == read.features.shape[1] + len(wide)
    alone = evaluate(log, bundle, baselines=AT_TRAINING)
    assert to_json(evaluate_read(read, baselines=AT_TRAINING, others={})) == to_json(alone)


def said_later(log: MemoryLog) -> MemoryLog:
    """The log, and after its last impression: clicks, other catalog rows and other people's tastes."""
    at_ms = log.stored[-1].received_ms + 1
    shown = [s.record for s in log.stored if isinstance(s.record, Event) and s.received_ms > at_ms - 3_000_000]
    impressions = [event for event in shown if event.action is Action.IMPRESSION]
    more: list[Record] = [Item("i1", at_ms, Kind.VIDEO, "new", "a9", category="c9", duration_ms=1)]
    more += [User("u1", at_ms, history=("i3", "i5")), User("a new one", at_ms, history=("i7",))]
    more += [
        Event(f"late {e.event_id}", at_ms, e.item_id, Action.CLICK, e.user_id, "", 0, e.request_id) for e in impressions
    ]
    end = len(log.stored)
    return MemoryLog([*log.stored, *(Stored(end + i, at_ms, record) for i, record in enumerate(more))], 8192)


def told_otherwise(log: MemoryLog) -> MemoryLog:
    """The log with the opposite of what was done in the judged stretch: each click a like, each watch a second."""
    records = []
    for stored in log.stored:
        event = stored.record
        if isinstance(event, Event) and stored.received_ms >= TRAINED_MS:
            other = {Action.CLICK: Action.LIKE, Action.LIKE: Action.SHARE}.get(event.action, event.action)
            event = Event(
                event.event_id, event.ts_ms, event.item_id, other, event.user_id, "", min(event.value, 1_000),
                event.request_id,
            )  # fmt: skip
        records.append(Stored(stored.offset, stored.received_ms, event))
    return MemoryLog(records, 8192)


def test_what_is_said_after_the_last_impression_changes_no_score_of_any_system(
    log: MemoryLog, bundle: Bundle, judged: Judged
) -> None:
    other = judge(said_later(log), bundle, baselines=BASELINES)
    assert other.labels.y.sum() > judged.labels.y.sum()
    assert {*other.systems} == {*judged.systems} == {"huozhao", *BASELINES}
    for name, scores in judged.systems.items():
        assert np.array_equal(scores.score, other.systems[name].score, equal_nan=True), name
        assert np.array_equal(scores.value, other.systems[name].value, equal_nan=True), name
    assert judged.watch is not None
    assert other.watch is not None
    assert np.array_equal(judged.watch.percentile, other.watch.percentile)
    for name, predicted in judged.watch.predicted_ms.items():
        assert np.array_equal(predicted, other.watch.predicted_ms[name]), name


def test_what_is_fitted_alone_does_not_move_with_what_happens_in_the_stretch(
    log: MemoryLog, bundle: Bundle, judged: Judged
) -> None:
    other = judge(told_otherwise(log), bundle, baselines=BASELINES)
    assert (other.labels.y != judged.labels.y).any()
    for name in ("random", "constant", "latest", "shortest", "item_knn", "ials", "fm", "static"):
        assert np.array_equal(judged.systems[name].score, other.systems[name].score, equal_nan=True), name
    assert not np.array_equal(judged.systems["popularity"].score, other.systems["popularity"].score)


@pytest.fixture(scope="module")
def rows(judged: Judged) -> list[Row]:
    return list(rows_of(judged, Bootstrap(20), lambda *_: None))


def test_ours_is_compared_with_every_baseline_and_what_knows_tastes_beats_chance(rows: list[Row]) -> None:
    found = {(row.system, row.head, row.metric): row for row in rows if row.kind == row.slice == "all"}
    for name in BASELINES:
        for head, metric in (("click", "gauc"), ("value", "ndcg5")):
            difference = found["huozhao", head, f"{metric}_diff_vs_{name}"]
            expected = found["huozhao", head, metric].value - found[name, head, metric].value
            assert difference.value == pytest.approx(expected)
            assert difference.p_value is not None
    for name in ("item_knn", "ials", "fm", "lambdamart"):
        assert found[name, "click", "gauc"].low > 0.5, name
    assert abs(found["random", "click", "gauc"].value - 0.5) < 0.1
    assert found["constant", "click", "gauc"].value == pytest.approx(0.5, abs=0.1)


def test_slices_part_the_rows_and_tell_their_counts(rows: list[Row]) -> None:
    figures = {(r.slice, r.system): r for r in rows if r.head == "click" and r.metric == "gauc" and r.kind == "all"}
    whole = figures["all", "huozhao"]
    by_gender = [figures[f"gender={gender}", "huozhao"] for gender in "fm"]
    assert sum(row.pairs for row in by_gender) == whole.pairs
    assert sum(row.positives for row in by_gender) == whole.positives
    assert figures["user=warm", "huozhao"].pairs == whole.pairs
    cold = figures["user=cold", "huozhao"]
    assert cold.positives == cold.pairs == 0
    assert np.isnan(cold.value)


def preferences(matrix: DoubleArray) -> Preferences:
    users, items = matrix.shape
    return Preferences({f"u{u}": u for u in range(users)}, {f"i{i}": i for i in range(items)}, csr_matrix(matrix))


def test_neighbours_are_those_whom_the_same_people_chose() -> None:
    past = preferences(np.array([[1.0, 2, 0], [3, 1, 0], [0, 1, 1], [1, 0, 0]]))
    model = ItemNeighbours.fit(past)
    first_second, second_third = 2 / (3 + SHRINK), 1 / (np.sqrt(3) + SHRINK)
    assert model.of(np.array([3, 2])) == pytest.approx(
        np.array([[0, first_second, 0], [first_second, second_third, second_third]]), abs=1e-6
    )
    assert score_pairs(model, ["u3", "u3", "nobody", "u2"], ["i1", "nothing", "i1", "i0"]) == pytest.approx(
        [first_second, 0, 0, first_second], abs=1e-6
    )


@given(st.integers(0, 10_000))
def test_als_gives_each_person_the_least_squares_solution(seed: int) -> None:
    rng = np.random.default_rng(seed)
    strength = rng.random((5, 8)) * (rng.random((5, 8)) < 0.4)
    items = rng.normal(size=(8, 3))
    entries = csr_matrix(strength)
    entries.data = 1 + ALPHA * np.log1p(entries.data)
    users = solved(entries.indptr, entries.indices, entries.data, items, PENALTY)
    for row, x in zip(strength, users, strict=True):
        confidence = np.where(row > 0, 1 + ALPHA * np.log1p(row), 1.0)
        left = items.T @ (confidence[:, None] * items) + PENALTY * np.eye(3)
        assert x == pytest.approx(np.linalg.solve(left, items.T @ (confidence * (row > 0))))


def test_als_prefers_what_people_of_one_taste_chose() -> None:
    tastes = np.kron(np.eye(2), np.ones((20, 10))).astype(np.float64)
    hidden = tastes.copy()
    hidden[0, 0] = hidden[25, 15] = 0
    model = ImplicitFactors.fit(preferences(hidden), seed=0)
    scores = model.of(np.array([0, 25]))
    assert scores[0, 0] > scores[0, 10:].max()
    assert scores[1, 15] > scores[1, :10].max()


def test_ease_is_the_ridge_regression_of_each_item_on_all_others() -> None:
    seen = (np.random.default_rng(0).random((60, 6)) < 0.5).astype(np.float64)
    model = ShallowAutoencoder.fit(preferences(seen))
    for item in range(6):
        others = np.delete(np.arange(6), item)
        x = seen[:, others]
        weights = np.linalg.solve(x.T @ x + RIDGE * np.eye(5), x.T @ seen[:, item])
        assert model.weights[others, item] == pytest.approx(weights, abs=1e-6)
        assert model.weights[item, item] == 0


def test_a_factorisation_machine_learns_what_no_single_id_says() -> None:
    rng = np.random.default_rng(0)
    user, item = rng.integers(0, 2, (2, 4_000))
    y = user == item
    places = np.stack([user, 2 + item, np.full(4_000, -1)], axis=1)
    machine = Machine(places, 0.5, seed=0)
    everything = np.arange(4_000)
    for _ in range(8):
        machine.learn(everything, y)
    margins = machine.margins(everything)
    assert margins[y].min() > 1 > -1 > margins[~y].max()


def test_preferences_before_a_time_hold_nothing_of_later(log: MemoryLog) -> None:
    short = Preferences.before(read_history(log, TRAINED_MS), TRAINED_MS)
    long = Preferences.before(read_history(said_later(told_otherwise(log))), TRAINED_MS)
    assert short.users == long.users
    assert short.items == long.items
    assert np.array_equal(short.matrix.toarray(), long.matrix.toarray())
    assert short.matrix.nnz > 500


def liked_later(log: MemoryLog) -> MemoryLog:
    """The log, and after its last record: likes of everything by everybody, and other catalog rows."""
    at_ms, end = log.stored[-1].received_ms + 1, len(log.stored)
    more: list[Record] = [Item(f"i{i}", at_ms, Kind.VIDEO, "new", "a9", category="c9") for i in range(0, 40, 7)]
    more += [Event(f"liked {u}", at_ms, f"i{u % 40}", Action.LIKE, f"u{u}") for u in range(80)]
    return MemoryLog([*log.stored, *(Stored(end + i, at_ms, record) for i, record in enumerate(more))], 8192)


def test_what_sources_and_peers_find_is_counted_once_and_knows_nothing_of_later(log: MemoryLog, bundle: Bundle) -> None:
    rows = evaluate_retrieval(log, bundle, default(), resamples=20)
    assert to_json(evaluate_retrieval(liked_later(log), bundle, default(), resamples=20)) == to_json(rows)
    found = {(row.system, row.kind, row.slice, row.metric): row for row in rows}
    for kind, personal in (("video", "videos"), ("product", "products")):
        most = found["legal", kind, "all", "recall@all"]
        for system in (personal, "trending", "fresh", "union", f"union − {personal}", "popularity", "ials", "ease"):
            at = [found[system, kind, "all", f"recall@{depth}"] for depth in DEPTHS]
            assert at[0].value <= at[1].value <= at[2].value <= most.value <= 1
            assert (at[0].slates, at[0].positives) == (most.slates, most.positives)
        # Twenty items of a kind: all of them fit into the first fifty places.
        assert found["popularity", kind, "all", "recall@50"].value == most.value == 1
        assert found["union", kind, "all", "recall@50_diff_vs_popularity"].value <= 0
        assert found["legal", kind, "all", "new_share@100"].value == 0
    with pytest.raises(TrainingError, match="before training ended"):
        evaluate_retrieval(log, bundle, default(), since_ms=bundle.trained.until_ms - 1)
