"""The gate: what is as good passes, what is worse is named, by how much."""

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path

import msgspec
import numpy as np
import pytest

from features.logs.live import HomeLog
from features.types import BoolArray
from ranking.bundles.bundle import load
from ranking.bundles.pointer import current
from training.gate import ENOUGH, SLOWER, Check, Verdict, judge
from training.judging.bootstrap import Bootstrap
from training.judging.calibrated import calibrated
from training.judging.figures import OURS, Judged, Row, rows_of
from training.judging.stretch import Read, Stretch
from training.reports.findings import find, from_json, to_json

BOOT = Bootstrap(100)


@pytest.fixture(scope="module")
def read(tiny_home: Path) -> Read:
    bundle = load(current(tiny_home / "bundles"))
    with HomeLog(tiny_home / "log", writer=False) as log:
        return Read.of(bundle, Stretch.read(log, bundle.trained.until_ms), lambda _done, _of: None)


def rows_read(read: Read, share: float = 1.0) -> list[Row]:
    """The figures of what a bundle read, its probabilities taken so many times."""
    heads = tuple(read.bundle.heads)
    scores = read.scores(heads)
    assert scores.probabilities is not None
    mine = replace(scores, probabilities=share * scores.probabilities)
    keep, stretch = read.stretch.keep, read.stretch
    user = stretch.history.events.user[stretch.event].astype(np.int64)
    mature = np.stack([read.mature(head) for head in heads], axis=1)
    on = Judged(
        user, stretch.slates.slate[keep], read.labels, mature, np.zeros(len(user)), np.zeros(len(user)), {OURS: mine}
    )
    return list(rows_of(on, Bootstrap(10), lambda *_: None))


def test_probabilities_are_held_to_their_bars_in_a_small_world_and_half_of_them_to_none(read: Read) -> None:
    whole, halved = (
        {(one.head, one.kind): one for one in calibrated(rows_read(read, share), 100)} for share in (1, 0.5)
    )
    assert {kind for _, kind in whole} == {"all", "room", "product", "video"}
    assert all(halved[key].ece > one.ece for key, one in whole.items() if key[0] == "click")
    assert all("ECE" in halved[key].misses for key in whole if key[0] == "click")


def even() -> Callable[[], float]:
    """A clock by which everything takes a second."""
    ticks = count()
    return lambda: float(next(ticks))


def verdict(ours: Read, theirs: Read, timer: Callable[[], float] | None = None) -> Verdict:
    return judge(ours, theirs, timer or even(), BOOT)


def test_a_bundle_as_good_as_the_current_one_passes(read: Read) -> None:
    found = verdict(read, read)
    assert found.passed
    assert {check.measure for check in found.checks} == {"gauc", "calibration", "latency"}
    assert all(check.by == 0 for check in found.checks if check.measure != "latency")


def test_worse_order_is_named_with_its_head_and_by_how_much(read: Read) -> None:
    shuffled = read.score.copy()
    np.random.default_rng(0).shuffle(shuffled)
    found = verdict(replace(read, score=shuffled), read)
    assert not found.passed
    assert {check.measure for check in found.worse} == {"gauc"}
    click = next(check for check in found.worse if check.head == "click")
    assert click.low < click.by < click.high < 0
    assert f"{click.by:+.4f}" in found.reason
    assert "gauc of click" in found.reason


def test_worse_probabilities_are_named_although_the_order_is_the_same(read: Read) -> None:
    found = verdict(replace(read, probabilities=read.probabilities * 0.5), read)
    assert {check.measure for check in found.worse} == {"calibration"}
    assert verdict(read, replace(read, probabilities=read.probabilities * 0.5)).passed


def test_a_forest_that_takes_longer_than_allowed_is_named(read: Read) -> None:
    def slowed(by: float, unit: float = 1.0) -> Callable[[], float]:
        # Every other timing is ours: in the first round theirs comes first, then they take turns.
        ours_first = [number % 2 == 1 for number in range(100)]
        steps = [unit * step for first in ours_first for step in ((by, 1.0) if first else (1.0, by))]
        times = np.cumsum(np.column_stack([np.zeros(len(steps)), steps]).ravel())
        ticks = iter(times.tolist())
        return lambda: float(next(ticks))

    assert verdict(read, read, slowed(SLOWER * 0.9)).passed
    found = verdict(read, read, slowed(SLOWER * 1.1))
    assert [check.measure for check in found.worse] == ["latency"]
    assert "1.38 times as long" in found.reason
    # As much slower, where a page's rows take a millisecond and a half: a feed does not miss it.
    assert verdict(read, read, slowed(SLOWER * 1.1, unit=0.001)).passed


def part(read: Read, marked: BoolArray) -> Read:
    """The slates of which an impression is marked, as the bundle reads them."""
    return Read.of(read.bundle, read.stretch.only(marked), lambda _done, _of: None)


def test_what_one_person_judged_is_not_judged_and_nothing_undefined_is_written(read: Read) -> None:
    user = read.stretch.history.events.user[read.stretch.event]
    one = part(read, user == np.bincount(user).argmax())
    found = verdict(one, one)
    assert not found.passed
    assert found.worse == ()
    assert "of two people or more" in found.reason
    assert [check.measure for check in found.checks] == ["latency"]
    assert b"null" not in msgspec.json.encode(found)


def test_a_handful_of_pages_does_not_let_a_bundle_pass_that_orders_nothing(read: Read) -> None:
    few = part(read, np.arange(len(read.labels.kind)) < 60)
    flat = replace(few, score=np.zeros_like(few.score))
    found = verdict(flat, few)
    assert not found.passed
    assert str(ENOUGH) in found.unjudged or "no head can be compared" in found.unjudged
    assert not verdict(replace(read, score=np.zeros_like(read.score)), read).passed


def test_figures_that_were_written_undefined_are_read_as_such(read: Read) -> None:
    nan = float("nan")
    told = Verdict("a", "b", 1, 2, (Check("gauc", "click", 0.5, 0.5, 0.0, nan, nan, 100, 500, worse=False),))
    found = from_json(to_json(msgspec.structs.replace(find(read.bundle, {}, None), verdict=told)), "here")
    assert found.verdict is not None
    assert np.isnan(found.verdict.checks[0].low)


def test_a_head_that_the_current_bundle_has_and_the_new_one_has_not_is_a_loss(read: Read) -> None:
    heads = {head: known for head, known in read.bundle.heads.items() if head != "click"}
    without = replace(read.bundle, heads=heads, models={head: read.bundle.models[head] for head in heads})
    found = verdict(Read.of(without, read.stretch, lambda _done, _of: None), read)
    assert "head click is lost" in found.reason


def test_each_bundle_answers_for_its_own_windows(read: Read) -> None:
    """A bundle whose heads wait longer is judged on the impressions for which both windows have closed."""
    heads = {
        head: msgspec.structs.replace(known, window_ms=known.window_ms // 2)
        for head, known in read.bundle.heads.items()
    }
    short = Read.of(replace(read.bundle, heads=heads), read.stretch, lambda _done, _of: None)
    assert verdict(read, short).since_ms == read.stretch.since_ms
    assert short.mature("complete").sum() > read.mature("complete").sum()


def test_what_was_found_is_what_is_read_again(read: Read) -> None:
    found = msgspec.structs.replace(find(read.bundle, {}, read, boot=BOOT), verdict=verdict(read, read))
    again = from_json(to_json(found), "here")
    assert to_json(again) == to_json(found)
    assert again.verdict == found.verdict


def test_reliability_bins_hold_every_impression_that_matured(read: Read) -> None:
    found = find(read.bundle, {}, read, boot=BOOT)
    click = next(curve for curve in found.reliability if (curve.head, curve.kind) == ("click", "all"))
    mature = read.mature("click")
    assert sum(point.rows for point in click.points) == mature.sum()
    assert sum(point.positives for point in click.points) == read.labels.of("click")[mature].sum()
    predicted = [point.predicted for point in click.points]
    assert predicted == sorted(predicted)
    assert all(point.low <= point.happened <= point.high for point in click.points)


def test_importances_are_shares_of_the_columns_that_are_split_on(read: Read) -> None:
    for shares in find(read.bundle, {}, read, boot=BOOT).importances.values():
        assert sum(shares.values()) == pytest.approx(1)
        assert set(shares) <= set(read.bundle.feature_set.names)


def test_a_bundle_that_predicts_half_of_what_happens_has_a_ratio_of_a_half(read: Read) -> None:
    def ratio(one: Read) -> float:
        rows = find(one.bundle, {}, one, boot=BOOT).rows
        return next(r.value for r in rows if (r.metric, r.head, r.kind, r.slice) == ("ratio", "click", "all", "all"))

    assert ratio(replace(read, probabilities=read.probabilities / 2)) == pytest.approx(ratio(read) / 2)
