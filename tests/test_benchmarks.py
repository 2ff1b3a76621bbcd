"""Benchmarks at sizes of seconds, and their command line. What they measure is not judged here, what they write is."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from shutil import which

import pytest

from benchmarks import feed, hydrate, index, replay, score
from benchmarks.market import Market
from benchmarks.report import Report
from seeds.world import Size

TINY: dict[str, Callable[[], Report]] = {
    "score": lambda: score.measure(score.Plan(trees=10, samples=4_000, items=10_000, times=5)),
    "index": lambda: index.run(quick=True),
    "hydrate": lambda: hydrate.measure(Market(1_000, 9_000, 400, 10_000, samples=1_000, trees=5, leaves=15), 20),
    "feed": lambda: feed.measure(feed.Plan(Market(800, 4_000, 500, 20_000, 2_000, 20, 15), 20, 2, 60, 200)),
    "replay": lambda: replay.measure(Size(users=150, hosts=20, videos=250, products=100, days=3)),
}
RATIOS = {
    "score": {"score.vs_lightgbm", "score.load_seconds"},
    "index": {
        "index.products_recall_at_100",
        "index.products_time_ratio",
        "index.filtered_1pct_recall",
        "index.filtered_time_ratio",
    },
    "hydrate": {"hydrate.vs_take"},
    "feed": {
        "feed.vs_naive",
        "feed.vs_naive_in_blocks",
        "feed.memory_gib",
        "feed.bytes_a_user",
        "feed.bytes_an_item",
        "feed.swap_peak_gib",
        "feed.swap_served_s",
        "feed.swap_p99_ratio",
        "feed.light_5000_over_500",
        "feed.p50_ms",
        "feed.feeds_per_second_per_core",
    },
    "replay": {"replay.seconds_of_10m"},
}
UNTIMED = {"replay"}
"""Run once, so without quantiles."""


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1])


@pytest.fixture(scope="module")
def reports() -> dict[str, Mapping[str, object]]:
    """What these benchmarks say of themselves, as it is written and read again."""
    return {name: json.loads(json.dumps(measure().as_json())) for name, measure in TINY.items()}


@pytest.mark.parametrize("name", RATIOS)
def test_a_run_finds_no_wrong_result_and_writes_the_documented_shape(
    reports: dict[str, Mapping[str, object]], name: str
) -> None:
    report = reports[name]
    rows, ratios, machine = report["rows"], report["ratios"], report["machine"]
    assert report.keys() == {"benchmark", "date", "machine", "versions", "rows", "ratios", "spreads", "faults"}
    assert report["faults"] == []
    assert isinstance(machine, dict)
    assert machine.keys() >= {"processor", "cores", "threads", "avx2", "avx512f", "system", "python"}
    assert isinstance(rows, list)
    assert rows
    assert all(row.get("system") for row in rows)
    assert name in UNTIMED or any(row.keys() >= {"p50_ms", "p95_ms", "p99_ms", "p99_9_ms"} for row in rows)
    assert isinstance(ratios, dict)
    assert ratios.keys() >= RATIOS[name]
    assert all(isinstance(ratio, float) and ratio > 0 for ratio in ratios.values())
    spreads = report["spreads"]
    assert isinstance(spreads, dict)
    assert all(0 < lower <= upper for lower, upper in spreads.values())
    assert spreads.keys() <= ratios.keys()


def test_peers_score_the_same_trees(reports: dict[str, Mapping[str, object]]) -> None:
    rows = reports["score"]["rows"]
    assert isinstance(rows, list)
    apart = {row["system"]: row["max_difference"] for row in rows if "max_difference" in row}
    there = {"tl2cgen"} if find_spec("tl2cgen") and which("gcc") else set()
    there |= {"onnxruntime, float", "onnxruntime, double"} if find_spec("onnxruntime") and find_spec("onnx") else set()
    assert {name for name in apart if not name.startswith(("huozhao", "lightgbm"))} == there
    assert all(apart[name] < 1e-6 for name in there)


def test_adds_are_compared_with_the_peer_that_is_there(reports: dict[str, Mapping[str, object]]) -> None:
    ratios = reports["index"]["ratios"]
    assert isinstance(ratios, dict)
    assert "index.adds_vs_faiss_hnsw" in ratios
    there = {"index.adds_vs_hnswlib", "index.adds_vs_hnswlib_cheapest"} if find_spec("hnswlib") else set()
    assert {name for name in ratios if "hnswlib" in name} == there


def test_the_engine_and_the_naive_stack_rank_the_same_candidates_to_the_same_scores(
    reports: dict[str, Mapping[str, object]],
) -> None:
    rows = reports["feed"]["rows"]
    assert isinstance(rows, list)
    (both,) = (row for row in rows if row["system"] == "both")
    assert both["candidates"] == 1000
    assert both["share_apart"] <= 0.001
    assert both["page_value_ratio"] == pytest.approx(1, abs=0.02)


def test_the_parts_of_what_is_kept_make_up_its_sum(reports: dict[str, Mapping[str, object]]) -> None:
    rows, ratios = reports["feed"]["rows"], reports["feed"]["ratios"]
    assert isinstance(rows, list)
    assert isinstance(ratios, dict)
    for whose in ("a user", "an item"):
        parts = [row["bytes_each"] for row in rows if row["system"].startswith(f"memory: {whose}, ")]
        assert ratios[f"feed.bytes_{whose.replace(' ', '_')}"] == pytest.approx(sum(parts))
    # Vectors of 64 floats at least, beside what the state alone keeps.
    assert ratios["feed.bytes_an_item"] > 256 + 170


def test_what_a_quick_run_writes_is_compared_with_by_a_later_one(tmp_path: Path) -> None:
    written = tmp_path / "quick.json"
    done = _run("rerank", "replay", "--quick", "--json", str(written))
    assert done.returncode == 0, done.stdout + done.stderr
    rerank, replayed = json.loads(written.read_text("utf-8"))
    assert (rerank["faults"], replayed["faults"]) == ([], [])
    changed = tmp_path / "earlier.json"
    changed.write_text(json.dumps([rerank | {"ratios": {"rerank.dpp_ms": 1.25}}, replayed]))
    done = _run("rerank", "--quick", "--against", str(changed))
    assert done.returncode == 0, done.stderr
    assert "was 1.25, times" in done.stdout


def test_a_benchmark_that_is_not_there_is_refused_by_name() -> None:
    done = _run("sorce", "--quick")
    assert done.returncode == 2
    assert "sorce" in done.stderr
