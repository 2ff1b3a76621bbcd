"""Watch time, slices and retrieval: figures made by hand, and what must hold of all of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.types import DoubleArray
from training.baselines.task import Scores
from training.judging.bootstrap import Bootstrap, Rows
from training.judging.cohorts import deciles_of, within_deciles
from training.judging.duration import duration_rows
from training.judging.figures import OURS, Judged, Row
from training.judging.metrics import gauc
from training.judging.recall import Recall, recall_rows
from training.judging.retrieval import in_turn
from training.judging.watch import Bins, mean_error, once_through, with_watch, xauc
from training.judging.worth import worth
from training.learning.labels import Labels

BOOT = Bootstrap(200)
VIDEO, ROOM = 3, 1


def rows_of(slate: list[int]) -> Rows:
    return Rows(np.array(slate), np.array(slate) // 10)


def test_xauc_counts_pairs_of_a_slate_whose_watches_differ() -> None:
    rows = rows_of([0, 0, 0, 1, 1, 12, 12])
    watched = np.array([1.0, 2, 3, 5, 5, 1, 2])
    predicted = np.array([1.0, 3, 2, 9, 1, 4, 4])
    sums = xauc(rows, watched, predicted)
    # Slate 0 has 2 of 3 in order, slate 1 no pair, slate 12 a pair of equal predictions.
    assert (sums.pairs, sums.slates, sums.positives) == (4, 2, 7)
    assert sums.value == pytest.approx(2.5 / 4)
    assert mean_error(rows, watched * 1000, predicted * 1000).value == pytest.approx((0 + 1 + 1 + 4 + 4 + 3 + 2) / 7)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 1), st.integers(0, 4)), min_size=2, max_size=40))
def test_xauc_of_outcomes_is_gauc_and_no_order_of_rows_matters(sample: list[tuple[int, int, int]]) -> None:
    slate, y, score = np.array(sample).T
    rows = Rows(slate, slate // 2)
    figure = xauc(rows, y.astype(float), score.astype(float)).figure(BOOT)
    same = gauc(rows, y, score, BOOT)
    assert (figure.value, figure.low, figure.high) == pytest.approx((same.value, same.low, same.high), nan_ok=True)
    turned = np.random.default_rng(0).permutation(len(y))
    again = Rows(slate[turned], slate[turned] // 2)
    assert xauc(again, y[turned].astype(float), score[turned].astype(float)).figure(BOOT) == pytest.approx(
        figure, nan_ok=True
    ) or np.isnan(figure.value)
    if not np.isnan(figure.low):
        assert figure.low - 1e-12 <= figure.value <= figure.high + 1e-12 or figure.slates < 5


def test_intervals_hold_the_figure_they_are_of() -> None:
    rng = np.random.default_rng(1)
    for seed in range(20):
        slate = rng.integers(0, 200, 1_500)
        watched, predicted = rng.exponential(9, 1_500), rng.normal(size=1_500)
        figure = xauc(Rows(slate, slate // 3), watched, predicted).figure(Bootstrap(200, seed))
        assert figure.low < figure.value < figure.high


def test_a_play_is_counted_once_through_where_there_is_a_duration() -> None:
    assert once_through(np.array([500, 5_000, 70_000]), np.array([1_000.0, 1_000, 0])).tolist() == [500, 1_000, 70_000]


def watches(n: int = 4_000) -> tuple[DoubleArray, DoubleArray, "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]"]:
    rng = np.random.default_rng(0)
    duration = rng.choice([0.0, 5_000, 20_000, 90_000], n)
    kind = np.where(duration > 0, VIDEO, ROOM).astype(np.uint8)
    return rng.random(n) * np.where(duration > 0, duration, 30_000), duration, kind


def test_a_percentile_says_nothing_of_duration_and_reads_back_as_the_watch() -> None:
    watched, duration, kind = watches()
    bins = Bins.of(watched, duration, kind)
    place = bins.place(duration, kind)
    assert len(np.unique(place)) == 4
    percentile = bins.percentile(watched, place)
    for length in np.unique(duration):
        assert percentile[duration == length].mean() == pytest.approx(0.5, abs=1e-9)
    assert bins.watch_at(percentile, place) == pytest.approx(watched)
    assert bins.mean(place)[duration == 5_000].std() == 0


def test_a_bin_that_held_nothing_predicts_the_middle_and_no_watch() -> None:
    bins = Bins.of(np.array([1.0, 2]), np.array([9.0, 9]), np.array([VIDEO, VIDEO], np.uint8))
    nowhere = bins.place(np.array([0.0]), np.array([2], np.uint8))
    assert bins.percentile(np.array([7.0]), nowhere).tolist() == [0.5]
    assert bins.watch_at(np.array([0.9]), nowhere).tolist() == [0] == bins.mean(nowhere).tolist()


def test_the_middle_percentile_adds_nothing_to_the_value() -> None:
    assert with_watch(np.array([1.0, 1.0]), np.array([0.5, 1.0]), 2.0) == pytest.approx([1.0, 1 + np.sqrt(12)])


def test_deciles_are_of_videos_alone_and_of_equal_mass() -> None:
    duration = np.concatenate([np.arange(1.0, 101), np.zeros(5), [7.0]])
    kind = np.array([VIDEO] * 105 + [ROOM], np.uint8)
    tenth = deciles_of(duration, kind)
    assert np.bincount(tenth).tolist() == [6] + [10] * 10
    assert (np.diff(tenth[:100]) >= 0).all()
    slices = {f"duration={n}": tenth == n for n in range(1, 11)}
    group = within_deciles(np.zeros(106, np.int64), slices)
    assert len(np.unique(group)) == 16


def test_exposure_is_of_the_videos_of_a_page_whatever_stands_between_them() -> None:
    # A page of a short and a long video and a product, and one of a single video, which has no choice.
    kind = np.array([VIDEO, 2, VIDEO, VIDEO], np.uint8)
    labels = Labels(np.zeros((4, 1), np.bool_), kind, np.zeros(4, np.int64), np.zeros(4, np.int64), {"complete": 0})
    ours = Scores.of_order(np.array([0.1, 0.9, 0.5, 0.7]), 1)
    slate, slices = (
        np.array([0, 0, 0, 1]),
        {"duration=1": kind == 0, "duration=2": np.array([False, False, True, True])},
    )
    slices["duration=1"][0] = True
    on = Judged(slate, slate, labels, np.ones((4, 1), np.bool_), np.zeros(4), np.zeros(4), {OURS: ours}, slices)
    found = [row for row in duration_rows(on, Bootstrap(2)) if row.metric == "exposure_share"]
    shares = {(row.system, row.slice): row.value for row in found if row.slice in slices}
    assert shares == {
        ("log", "duration=1"): 0.5, ("log", "duration=2"): 0.5, (OURS, "duration=1"): 0, (OURS, "duration=2"): 1,
    }  # fmt: skip
    assert {row.slates for row in found} == {1}


def test_lists_in_turn_give_each_row_once() -> None:
    lists = [np.array(rows, np.int32) for rows in ([1, 2, 3, 4], [2, 5], [])]
    assert in_turn(lists, 10).tolist() == [1, 2, 5, 3, 4]
    assert in_turn(lists, 2).tolist() == [1, 2]
    assert in_turn([], 5).tolist() == []


def test_recall_is_the_mean_share_of_what_each_person_wanted() -> None:
    recall = Recall([4, 7, 9])
    for person, (wanted, count, found) in enumerate([([1, 2], 4, [2, 3]), ([3], 1, [3, 1]), ([5], 1, [])]):
        recall.wanted(person, "video", np.array(wanted, np.int32), count)
        for system in ("union", "trending"):
            recall.found(person, system, np.array(found if system == "union" else [], np.int32))
        recall.found(person, "legal", np.arange(1, 6, dtype=np.int32))
    warm, new = np.zeros(10, np.bool_), np.zeros(6, np.bool_)
    warm[[4, 9]], new[3] = True, True
    rows = {(r.system, r.slice, r.metric): r for r in recall_rows(recall, warm, new, BOOT)}
    assert rows["union", "all", "recall@50"].value == pytest.approx((1 / 4 + 1 + 0) / 3)
    assert rows["union", "user=warm", "recall@50"].value == pytest.approx((1 / 4 + 0) / 2)
    assert rows["union", "user=cold", "recall@500"].value == 1
    assert (rows["union", "all", "recall@50"].positives, rows["union", "all", "recall@50"].slates) == (6, 3)
    assert rows["legal", "all", "recall@all"].value == pytest.approx((2 / 4 + 1 + 1) / 3)
    assert rows["union", "all", "coverage@100"].value == pytest.approx(3 / 5)
    assert rows["union", "all", "new_share@100"].value == pytest.approx(2 / 4)
    assert rows["union", "all", "recall@50_diff_vs_trending"].value == rows["union", "all", "recall@50"].value


def test_a_source_is_worth_what_the_others_lack_by_whole_intervals() -> None:
    def told(system: str, metric: str, low: float, high: float, part: str = "all") -> Row:
        return Row(system, "retrieval", "video", part, metric, (low + high) / 2, low, high, 10, 5, 0)

    rows = [told("union", "new_share@100", 0.2, 0.3)]
    apart = {"trending": (0.01, 0.03), "fresh": (-0.03, -0.01), "follow": (-0.03, -0.01), "similar": (-0.01, 0.01)}
    for source, (low, high) in apart.items():
        new = (0.0, 0.1) if source == "fresh" else (0.2, 0.3)
        rows.append(told(f"union − {source}", "new_share@100", *new))
        rows += [told("union", f"recall@{depth}_diff_vs_union − {source}", low, high) for depth in (50, 100, 500)]
    assert worth(rows)[3].verdict == "not shown to add"
    rows.append(told("union", "recall@500_diff_vs_union − similar", 0.01, 0.02, "user=cold"))
    assert {one.source: one.verdict for one in worth(rows)} == {
        "trending": "adds recall",
        "fresh": "adds new items",
        "follow": "costs recall",
        "similar": "adds recall for new people",
    }
