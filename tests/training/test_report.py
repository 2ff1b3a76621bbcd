"""The report: one page without a network, with nothing of a log in it that is not escaped; and feature drift."""

import io
import re
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from features.columns import Category, Column
from features.schema import FeatureSet
from huozhao.show_bundles import changes_view, model_view, models_table
from ranking.bundles.attached import attach
from ranking.bundles.bundle import Trained
from tests.small_home import bundle
from training.gate import Check, Verdict
from training.judging.calibrated import calibrated
from training.judging.cold import beside_best
from training.judging.compare import compare
from training.judging.figures import OURS, Row
from training.learning.drift import drift_of, psi, reference_of
from training.publish import told_again, without
from training.registry import Listed, Promotion
from training.reports.findings import Curve, Findings, Point, from_json, to_json
from training.reports.report import page

EVIL = "<script>alert(1)</script>&\"'"
FEATURES = FeatureSet((Column("item.price"), Category("item.category")))
EIGHT_MS = 8 * 3_600_000


def row(system: str, metric: str, head: str, value: float, part: str = "all") -> Row:
    return Row(system, head, "all", part, metric, value, value - 0.05, value + 0.05, 100, 50, 200)


def findings(name: str = "complete") -> Findings:
    rng = np.random.default_rng(0)
    table = rng.random((500, 2)).astype(np.float32)
    reference = reference_of(table, FEATURES)
    return Findings(
        format=1,
        version="0123456789ab",
        trained=Trained(1_650_000_000_000, 1_650_400_000_000, 10, 3),
        packages={name: "1"},
        columns=(name,),
        heads=(name,),
        dropped={name: name},
        since_ms=1_650_400_000_000,
        until_ms=1_650_500_000_000,
        judged={"impressions": 500, "slates": 100, "people": 30},
        unjudged="",
        rows=(
            *(row(system, "gauc", name, value) for system, value in ((OURS, 0.7), (name, 0.6))),
            row(OURS, "gauc", name, 0.4, name),
            row(OURS, "ratio", name, 1.2, name),
            row(OURS, "slope", name, float("nan")),
        ),
        reliability=(Curve(name, "all", (Point(0.1, 0.12, 0.1, 0.2, 50, 6), Point(0.4, 0.3, 0.2, 0.5, 50, 15))),),
        importances={name: {name: 1.0}},
        drift=drift_of(reference, table[:200] * 3, FEATURES),
    )


class Tags(HTMLParser):
    """What a browser would open, and close again."""

    def __init__(self) -> None:
        super().__init__()
        self.opened: list[str] = []
        self.names: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("br", "meta", "rect", "line", "circle", "polyline"):
            self.opened.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("rect", "line", "circle", "polyline"):
            assert self.opened.pop() == tag


def read(html: bytes) -> Tags:
    tags = Tags()
    tags.feed(html.decode())
    assert tags.opened == []
    return tags


def test_the_page_is_whole_and_asks_nothing_of_a_network() -> None:
    html = page(findings(), EIGHT_MS)
    tags = read(html)
    assert tags.links == []
    assert "script" not in tags.names
    assert not re.search(rb"url\(|@import|https?://", html)
    assert {"svg", "table", "details", "figure"} <= tags.names
    for heading in (b"Beside the others", b"Do the probabilities hold", b"Where it is weakest", b"What has moved"):
        assert heading in html
    # Counts of what a column rests on stand at its head, and a curve of few positives is folded away.
    assert b"200 pairs<br>50 slates<br>100 positives" in html
    assert b"Of fewer than 200 positives, where noise draws the curve: 1" in html


def test_no_name_of_a_log_is_read_as_markup() -> None:
    html = page(findings(EVIL), EIGHT_MS)
    assert read(html).names == read(page(findings(), EIGHT_MS)).names
    assert b"<script" not in html


def test_a_bundle_that_nothing_could_judge_says_why_and_shows_the_rest() -> None:
    bare = msgspec.structs.replace(
        findings(), rows=(), reliability=(), drift=(), judged={}, unjudged="the log ends with the training"
    )
    html = page(bare, EIGHT_MS)
    read(html)
    assert b"Nothing was judged: the log ends with the training" in html
    assert b"What each head looks at" in html
    assert b"Beside the others" not in html


def calibration_of(kind: str, positives: int, slope: float, ece: float, chance: float) -> list[Row]:
    def of(system: str, metric: str, value: float) -> Row:
        return Row(system, "like", kind, "all", metric, value, value, value, positives, 50, 200)

    figures = (("slope", slope), ("logloss", 0.08), ("ece", ece), ("ece_by_chance", chance))
    return [of("log", "rate", 0.02), of("constant", "logloss", 0.1), *(of(OURS, *each) for each in figures)]


def test_every_head_and_kind_with_positives_enough_is_held_to_three_bars_beside_chance() -> None:
    rows = [
        *calibration_of("room", 600, 1.2, 0.001, 0.001),
        *calibration_of("video", 600, 1.0, 0.003, 0.0025),
        *calibration_of("product", 499, 2.0, 0.5, 0.001),
    ]
    found = {one.kind: one for one in calibrated(rows)}
    assert {kind: one.misses for kind, one in found.items()} == {"room": ("slope",), "video": ("ECE",)}
    assert (found["room"].is_noise, found["video"].is_noise) == (False, True)
    html = page(msgspec.structs.replace(findings("like"), rows=tuple(rows)), EIGHT_MS).decode()
    read(html.encode())
    assert "Probabilities hold for <b>0 of 2</b>" in html
    assert "like of room (slope), like of video (ECE)" in html


def test_a_head_of_all_kinds_is_held_to_its_bars_beside_each_kind() -> None:
    rows = [
        *calibration_of("all", 1_200, 1.3, 0.001, 0.001),
        *calibration_of("room", 600, 1.0, 0.001, 0.001),
        *calibration_of("video", 600, 1.0, 0.001, 0.001),
    ]
    assert {one.kind: one.misses for one in calibrated(rows)} == {"all": ("slope",), "room": (), "video": ()}
    html = page(msgspec.structs.replace(findings("like"), rows=tuple(rows)), EIGHT_MS).decode()
    assert "Probabilities hold for <b>2 of 3</b>" in html
    assert "like of all kinds (slope)" in html


def test_lambdamart_that_was_fitted_and_could_not_be_compared_is_not_called_missing() -> None:
    nan = float("nan")
    apart = Row(OURS, "value", "all", "all", "ndcg5_diff_vs_lambdamart", nan, nan, nan, 0, 0, 0, nan)
    html = page(msgspec.structs.replace(findings(), rows=(*findings().rows, apart)), EIGHT_MS).decode()
    assert "was not fitted" not in html
    assert "cannot be told of 0 slates" in html
    assert "was not fitted" in page(findings(), EIGHT_MS).decode()


def test_a_part_of_fewer_positives_than_the_foot_says_is_not_called_the_weakest() -> None:
    def told(part: str, positives: int) -> Row:
        return Row(OURS, "gauc", "all", part, "gauc", 0.3, 0.2, 0.4, positives, 50, 200)

    few, enough = (msgspec.structs.replace(told(part, n), head="like") for part, n in (("few", 19), ("enough", 20)))
    html = page(
        msgspec.structs.replace(findings("like"), rows=(*findings("like").rows, few, enough)), EIGHT_MS
    ).decode()
    weakest = html[html.index("Where it is weakest") :]
    assert "<td>enough</td>" in weakest
    assert "<td>few</td>" not in weakest


def test_a_system_is_compared_in_the_heads_that_it_has() -> None:
    rows = [row("previous", "gauc", head, 0.6) for head in ("click", "order")]
    rows += [row(OURS, metric, "order", 0.6) for metric in ("gauc", "gauc_diff_vs_previous", "gauc_diff_vs_latest")]
    kept = without(rows, "previous", {"order"})
    assert [(one.system, one.metric, one.head) for one in kept] == [
        ("previous", "gauc", "click"),
        (OURS, "gauc", "order"),
        (OURS, "gauc_diff_vs_latest", "order"),
    ]


def test_every_figure_stands_beside_what_it_rests_on_and_windows_that_were_cut_are_named() -> None:
    slope = Row(OURS, "slope", "all", "all", "slope", 1.1, 1.0, 1.2, 321, 50, 0, None, 4_567)
    slope = msgspec.structs.replace(slope, head="like", metric="slope")
    found = msgspec.structs.replace(
        findings("like"),
        rows=(row(OURS, "gauc", "like", 0.7), slope),
        cut_ms={"order": (36 * 3_600_000, 72 * 3_600_000)},
        changes=compare(bundle(), bundle(), (slope,), (slope, row(OURS, "gauc", "like", 0.7))),
    )
    assert from_json(to_json(found), "it").cut_ms == found.cut_ms
    html = page(found, EIGHT_MS).decode()
    read(html.encode())
    assert "Windows cut to fit a short log: order 36 h of 72" in html
    assert html.count("4,567 rows, 321 positives") == 2
    assert "<td>4,567</td>" in html
    assert found.changes is not None
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(changes_view(found.changes))
    console.print(model_view(bundle(), found, (), (), is_current=True))
    listed = Listed("0123456789ab", bundle(), "", current=True, promotion=None)
    console.print(models_table([listed], {"0123456789ab": findings("complete")}, {}))
    said = console.export_text()
    assert "4,567 rows, 321 positives" in said
    assert all(name in said for name in ("200 pairs", "pairs", "positives", "rows"))
    assert max(map(len, said.splitlines())) <= 120


def test_a_chapter_that_is_left_out_is_named_with_the_reason() -> None:
    bare = msgspec.structs.replace(findings(), reliability=(), drift=())
    html = page(bare, EIGHT_MS).decode()
    read(html.encode())
    assert "Reliability curves: no head has 20 positives" in html
    assert "How far columns have moved: how they lay in training was not kept" in html
    assert "Reliability curves" not in page(findings(), EIGHT_MS).decode()
    # Where nothing was judged it is said once.
    assert "not on this page" not in page(msgspec.structs.replace(bare, unjudged="it ends"), EIGHT_MS).decode()


def test_a_current_bundle_that_is_trained_again_keeps_the_verdict_it_was_let_pass_by(tmp_path: Path) -> None:
    place = tmp_path / "0123456789ab"
    place.mkdir()
    check = Check("gauc", "like", 0.6, 0.5, 0.1, 0.05, 0.15, 100, 500, worse=False)
    verdict = Verdict(place.name, "ab", 1, 2, (check,))
    attach(place, {"metrics.json": to_json(msgspec.structs.replace(findings(), verdict=verdict))})
    assert told_again(place, ()) == verdict
    itself = Verdict(place.name, place.name)
    attach(place, {"metrics.json": to_json(msgspec.structs.replace(findings(), verdict=itself))})
    entries = [Promotion(place.name, "ab", 1, "gate", "", (check,)), Promotion(place.name, "cd", 2, "rollback", "")]
    assert told_again(place, entries) == Verdict(place.name, "ab", checks=(check,))
    assert told_again(place, ()) is None


def test_exposure_watch_times_and_what_sources_find_stand_where_they_were_judged() -> None:
    def told(system: str, head: str, metric: str, part: str = "all") -> Row:
        return Row(system, head, "all", part, metric, 0.1, 0.05, 0.15, 100, 50, 200)

    rows = [told(system, "value", "exposure_share", f"duration={n}") for system in ("log", OURS) for n in range(1, 11)]
    rows += [told("watch_rank", "watch_time", "xauc"), told(OURS, "value", "ndcg5_diff_vs_lambdamart")]
    retrieved = tuple(told(system, "retrieval", "recall@50") for system in ("union", "ials"))
    more = msgspec.structs.replace(findings(), rows=(*findings().rows, *rows), retrieval=retrieved)
    html = page(more, EIGHT_MS)
    assert read(html).links == []
    for heading in (b"Who is shown, by duration", b"Watch time", b"What the sources find"):
        assert heading in html
        assert heading not in page(findings(), EIGHT_MS)
    assert b"By gain the value ranks better than LambdaMART" in html
    assert from_json(to_json(more), "it").retrieval == retrieved


def test_on_what_is_new_ours_stands_beside_the_best_of_all_baselines() -> None:
    def told(system: str, value: float, metric: str = "gauc", low: float = 0.0) -> Row:
        return Row(system, "click", "all", "item=cold", metric, value, low, value + 0.1, 100, 50, 200)

    rows = (
        told(OURS, 0.6),
        told("popularity", float("nan")),
        told("latest", 0.7),
        told("ials", 0.5),
        told("random", 0.4),
    )
    apart = told(OURS, -0.15, "gauc_diff_vs_latest", -0.2)
    (one,) = beside_best((*rows, apart), ("random", "popularity", "latest", "ials"))
    assert (one.best, one.apart, one.worse) == (rows[2], apart, "yes")
    (one,) = beside_best(rows, ("popularity",))
    assert (one.best, one.worse) == (None, "–")
    html = page(msgspec.structs.replace(findings("click"), rows=(*findings("click").rows, *rows, apart)), EIGHT_MS)
    assert "Whom and what it has never seen" in html.decode()
    assert b"never seen" not in page(findings(), EIGHT_MS)


shares = st.lists(st.floats(0.001, 1), min_size=2, max_size=12).map(lambda xs: np.array(xs) / sum(xs))


@given(shares, st.integers(1, 10_000))
def test_the_index_is_0_for_the_same_shares_and_never_below(then: np.ndarray, rows: int) -> None:
    assert psi(then, then, rows, rows) == 0
    assert psi(then, then[::-1], rows, rows) >= 0
    assert psi(then, then[::-1], rows, rows) == pytest.approx(psi(then[::-1], then, rows, rows))


@given(st.integers(0, 50))
def test_rows_of_the_same_kind_have_not_moved_and_others_come_first(seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = np.column_stack([rng.normal(size=4000), rng.integers(0, 30, 4000)]).astype(np.float32)
    table[rng.random(4000) < 0.1, 0] = np.nan
    reference = reference_of(table[:2000], FEATURES)
    assert all(abs(sum(column.shares) - 1) < 1e-9 for column in reference.values())
    assert max(one.psi for one in drift_of(reference, table[2000:], FEATURES)) < 0.05
    moved = table[2000:].copy()
    moved[:, 1] = rng.integers(30, 60, 2000)
    first = drift_of(reference, moved, FEATURES)[0]
    assert first.name == "item.category"
    assert first.psi > 0.25


def test_a_column_that_is_always_missing_or_one_value_can_be_compared(tmp_path: Path) -> None:
    table = np.column_stack([np.full(50, np.nan), np.zeros(50)]).astype(np.float32)
    reference = reference_of(table, FEATURES)
    assert [one.psi for one in drift_of(reference, table, FEATURES)] == [0, 0]
    assert drift_of(reference, np.nan_to_num(table), FEATURES)[0].psi > 1
