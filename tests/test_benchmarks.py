"""The harness as it is run: quick, from its command line. What it measures is not judged here, what it writes is."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

RATIOS = {
    "score": {"score.vs_lightgbm"},
    "index": {
        "index.products_recall_at_100",
        "index.products_time_ratio",
        "index.filtered_1pct_recall",
        "index.filtered_time_ratio",
    },
    "hydrate": {"hydrate.vs_take"},
    "feed": {"feed.vs_naive", "feed.memory_gib"},
    "replay": {"replay.seconds_of_10m"},
}
UNTIMED = {"replay"}
"""Run once, so without quantiles."""


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1])


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one quick run of these benchmarks wrote."""
    file = tmp_path_factory.mktemp("benchmarks") / "quick.json"
    done = _run(*RATIOS, "--quick", "--json", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    return file


@pytest.fixture(scope="module")
def reports(written: Path) -> dict[str, Mapping[str, object]]:
    return {report["benchmark"]: report for report in json.loads(written.read_text("utf-8"))}


@pytest.mark.parametrize("name", RATIOS)
def test_a_quick_run_finds_no_wrong_result_and_writes_the_documented_shape(
    reports: dict[str, Mapping[str, object]], name: str
) -> None:
    report = reports[name]
    rows, ratios, machine = report["rows"], report["ratios"], report["machine"]
    assert report.keys() == {"benchmark", "machine", "versions", "rows", "ratios", "faults"}
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


def test_adds_are_compared_with_the_peer_that_is_there(reports: dict[str, Mapping[str, object]]) -> None:
    ratios = reports["index"]["ratios"]
    assert isinstance(ratios, dict)
    assert len({"index.adds_vs_hnswlib", "index.adds_vs_faiss_hnsw"} & ratios.keys()) == 1


def test_the_engine_and_the_naive_stack_rank_the_same_candidates_to_the_same_scores(
    reports: dict[str, Mapping[str, object]],
) -> None:
    rows = reports["feed"]["rows"]
    assert isinstance(rows, list)
    (both,) = (row for row in rows if row["system"] == "both")
    assert both["candidates"] == 1000
    assert both["share_apart"] <= 0.001
    assert both["page_value_ratio"] == pytest.approx(1, abs=0.02)


def test_ratios_are_printed_beside_those_of_an_earlier_file(written: Path) -> None:
    earlier = json.loads(written.read_text("utf-8"))
    changed = written.with_name("earlier.json")
    changed.write_text(json.dumps([report | {"ratios": {"score.vs_lightgbm": 1.25}} for report in earlier[:1]]))
    done = _run("score", "--quick", "--against", str(changed))
    assert done.returncode == 0, done.stderr
    assert "was 1.25, times" in done.stdout


def test_a_benchmark_that_is_not_there_is_refused_by_name() -> None:
    done = _run("sorce", "--quick")
    assert done.returncode == 2
    assert "sorce" in done.stderr
