"""What the harness does with what it measures: judges, draws, writes down, goes on."""

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks import people, rerank, scale, train
from benchmarks.__main__ import STOPPED, as_text, read_ratios, run_all
from benchmarks.bars import BARS, Bar
from benchmarks.doc import MARKED, PAGE, rewritten, section, verdicts
from benchmarks.plots import CURVES, DRAWN, ONE_IN, PICTURES, RESULTS, draw
from benchmarks.report import Report
from seeds.world import Size

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("bar", "ratio", "verdict"),
    [
        (Bar(">=", 15, 30), 14.9, "missed"),
        (Bar(">=", 15, 30), 15, "met"),
        (Bar(">=", 15, 30), 30, "aim met"),
        (Bar("<=", 4), 4, "met"),
        (Bar("<=", 4), 4.1, "missed"),
        (Bar("<=", 4), float("nan"), "missed"),
        (Bar("<=", None, 3), 3, "aim met"),
        (Bar("<=", None, 3), 3.1, "aim missed"),
    ],
)
def test_a_ratio_is_judged_by_its_bar_and_its_aim(bar: Bar, ratio: float, verdict: str) -> None:
    assert bar.verdict(ratio) == verdict


def test_every_aim_lies_beyond_its_bar() -> None:
    assert all(bar.verdict(bar.aim) == "aim met" for bar in BARS.values() if bar.aim is not None)
    both = [bar for bar in BARS.values() if bar.aim is not None]
    assert all(Bar(bar.sense, bar.aim).verdict(bar.bar) == "missed" for bar in both if bar.bar is not None)


def test_one_that_breaks_off_does_not_stop_the_others_and_fails_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_all(("nowhere", "rerank"), {"rerank.dpp_ms": 0.5}, quick=True, file=tmp_path, plots=None) == 1
    said = capsys.readouterr()
    assert "nowhere: broke off" in said.err
    assert "<= 0.3" in said.out
    report = json.loads((tmp_path / "rerank.json").read_text("utf-8"))
    assert report["faults"] == []
    assert set(report["ratios"]) == {"rerank.dpp_ms", "rerank.mmr_ms"}
    assert report["machine"].keys() >= {"threads", "avx2", "avx512f"}


@pytest.mark.parametrize("text", ["{", "[1]", '{"ratios": 3}', '{"ratios": {"a": [1]}}', '{"ratios": {"a": "x"}}'])
def test_a_file_to_compare_with_that_is_none_is_refused_by_name(text: str, tmp_path: Path) -> None:
    (tmp_path / "earlier.json").write_text(text)
    command = [sys.executable, "-m", "benchmarks", "rerank", "--quick", "--against", str(tmp_path / "earlier.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 2
    assert "earlier.json" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_is_written_is_json_whatever_was_measured_and_texts_stay_as_they_are(tmp_path: Path) -> None:
    nan, inf = float("nan"), float("inf")
    written = {"ratios": {"a": nan, "b": 2.0}, "rows": [{"x": inf, "y": "said: NaN"}], "spreads": {"a": (nan, -inf)}}

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    text = as_text(written)
    expected = {"ratios": {"a": None, "b": 2.0}, "rows": [{"x": None, "y": "said: NaN"}], "spreads": {"a": [None] * 2}}
    assert json.loads(text, parse_constant=refuse) == expected
    (tmp_path / "earlier.json").write_text(text)
    assert read_ratios(tmp_path / "earlier.json") == {"b": 2.0}


@pytest.mark.parametrize("option", ["--json", "--plots"])
@pytest.mark.parametrize("below", ["a file/b.json", ""])
def test_a_place_that_cannot_be_written_is_refused_before_anything_runs(
    option: str, below: str, tmp_path: Path
) -> None:
    (tmp_path / "a file").write_text("")
    place = str(tmp_path / below) if below else ""
    command = [sys.executable, "-m", "benchmarks", "rerank", "--quick", option, place]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 2
    assert option in done.stderr
    assert "running" not in done.stderr
    assert "Traceback" not in done.stderr


def test_what_cannot_be_written_and_who_is_stopped_lose_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*, quick: bool) -> Report:
        raise KeyboardInterrupt

    (tmp_path / "scale.json").mkdir()
    monkeypatch.setattr(scale, "run", lambda *, quick: Report("scale"))
    monkeypatch.setattr(rerank, "run", lambda *, quick: Report("rerank"))
    assert run_all(("scale", "rerank"), {}, quick=True, file=tmp_path, plots=None) == 1
    assert "scale: could not be written" in capsys.readouterr().err
    (tmp_path / "rerank.json").unlink()
    monkeypatch.setattr(train, "run", stop)
    assert run_all(("rerank", "train", "scale"), {}, quick=True, file=tmp_path, plots=None) == STOPPED
    assert json.loads((tmp_path / "rerank.json").read_text("utf-8"))["benchmark"] == "rerank"
    assert "train: stopped; finished before: rerank" in capsys.readouterr().err


def test_curves_have_the_points_of_their_plan() -> None:
    base = scale.Point(items=600, users=200, candidates=100, threads=1)
    plan = scale.Plan(base, {"threads": (1, 2)}, samples=2_000, trees=5, leaves=7, feeds=4)
    report = scale.curves(plan)
    assert report.faults == []
    assert [(row["vary"], row["threads"]) for row in report.rows] == [("threads", 1), ("threads", 2)]
    assert all(row["page"] == people.PAGE for row in report.rows)
    assert all(row["recall"] == 1 and row["ndcg_loss"] == 0 for row in report.rows)


def test_the_stages_of_a_training_make_up_its_time(tmp_path: Path) -> None:
    records = train.make_log(tmp_path, Size(users=150, hosts=20, videos=250, products=100, days=3))
    stages, whole = train.train_log(tmp_path)
    assert records > 10_000
    assert list(stages) == ["reading the log", "fitting factors", "reading features", "fitting heads"]
    assert sum(stages.values()) == pytest.approx(whole["seconds"])
    assert set(train.ALWAYS) <= set(str(whole["heads"]).split())


REPORTS = {
    "loop": [
        {"system": "a < b & c", "gain": 2.0},
        *({"system": system, "day": day, "expected": 5.0 * day, "entropy": 2.0} for system in "ab" for day in (1, 2)),
    ],
    "index": [
        {"system": "huozhao", "filter": "none", "recall": 0.95, "p50_ms": 0.5},
        {"system": "huozhao", "filter": "none", "recall": 0.99, "p50_ms": 0.9},
        {"system": "a < b & c", "filter": "none", "recall": 0.96, "p50_ms": 0.4},
        {"system": "huozhao", "set": "GloVe", "filter": "front", "recall": 0.9, "p50_ms": 0.2},
        {"system": "huozhao", "set": "GloVe", "filter": "front", "recall": 0.95, "p50_ms": 0.3},
        {"system": "huozhao", "set": "GloVe", "filter": "none", "recall": 0.95, "p50_ms": 0.3},
        {"system": "huozhao", "filter": "1%", "recall": 1.0, "p50_ms": 0.1},
        {"system": "huozhao", "added": 100, "adds_per_second": 1e5},
    ],
    "scale": [
        {"system": "huozhao", "vary": "items", "items": items, "users": 10, "p50_ms": items / 1e4, "p99_ms": 12.0}
        for items in (1_000, 10_000, 1_000_000)
    ],
    "score": [{"system": "huozhao", "size": "n", "p50_ms": 1.3}, {"system": "peer", "size": "n", "p50_ms": 64.0}],
    **{
        name: [{"system": system, **dict.fromkeys(ONE_IN, 2.0)} for system in systems]
        for name, systems in CURVES.items()
    },
}


@pytest.mark.parametrize("name", DRAWN)
def test_a_picture_is_small_svg_that_stands_alone(name: str, tmp_path: Path) -> None:
    draw([{"benchmark": name, "rows": REPORTS[name]}], tmp_path)
    text = (tmp_path / f"{name}.svg").read_text("utf-8")
    root = ET.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert len(text) < 16_000
    assert "href" not in text
    assert "nan" not in text
    assert "prefers-color-scheme" in text


def test_nothing_to_draw_draws_nothing(tmp_path: Path) -> None:
    draw([{"benchmark": name, "rows": []} for name in DRAWN], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_page_says_what_the_committed_results_say() -> None:
    text = PAGE.read_text("utf-8")
    assert text == rewritten(text), "stale: run python -m benchmarks.doc"
    marked = {found[1] for found in MARKED.findall(text)}
    assert "verdicts" in marked
    assert marked >= {file.stem for file in RESULTS.glob("*.json")}


def test_a_benchmark_without_a_result_claims_nothing() -> None:
    assert "Not measured" in section("nowhere")


def test_a_bar_that_a_result_says_nothing_of_is_shown_as_not_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = Report("soak", ratios={"soak.errors": 2.0})
    report.keep("soak.p50_ms", 5.0, [4.0, 5.0, 6.0])
    (tmp_path / "soak.json").write_text(json.dumps(report.as_json()))
    monkeypatch.setattr("benchmarks.doc.RESULTS", tmp_path)
    text = section("soak")
    assert "| `soak.errors` | 2 |  | <= 0 |  | missed |" in text
    assert "| `soak.p50_ms` | 5 | 4.5 to 5.5 |  |  |  |" in text
    assert "| `soak.dead_rooms` |  |  | <= 0 |  | not measured |" in text
    assert report.began in text
    assert f"Of {len(BARS)} ratios that have a bar or an aim 0 meet it." in verdicts()
    assert "| `soak.errors` | 2 |  | <= 0 |  | missed |" in verdicts()
    assert "| `crash.duplicated` |  |  | <= 0 |  | not measured |" in verdicts()


def test_committed_pictures_are_of_the_committed_results(tmp_path: Path) -> None:
    draw([json.loads(file.read_text("utf-8")) for file in RESULTS.glob("*.json")], tmp_path)
    drawn = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    committed = {file.name: file.read_bytes() for file in PICTURES.glob("*.svg")}
    stale = [name for name in drawn | committed if drawn.get(name) != committed.get(name)]
    assert not stale, "run python -m benchmarks.plots"
