"""How answers under load are judged: what is late, lesser, refused or wrong."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks import overload, soak
from benchmarks.load import Heard, by_second
from benchmarks.report import Report
from benchmarks.standstill import Stood


def heard(took_ms: list[float], status: list[int], level: list[str], lag_ms: float = 0.0) -> Heard:
    """Answers to pages that were due a tenth of a second apart."""
    due = np.arange(len(took_ms)) / 10
    return Heard(
        kind=np.array(["feed"] * len(took_ms)),
        due=due,
        done=due + np.array(took_ms) / 1e3,
        status=np.array(status),
        items=np.where(np.array(status) == 200, 50, 0),
        accepted=np.zeros(len(took_ms), np.int64),
        level=np.array(level),
        lag_ms=np.full(len(took_ms), lag_ms),
        dead=(),
    )


def test_only_pages_in_time_are_goodput_and_late_refusals_are_late() -> None:
    report = Report("overload")
    closed = heard([10, 10, 10, 10], [200] * 4, ["full"] * 4)
    idle = heard([10, 10, 10, 60], [200] * 4, ["full"] * 4)
    overload.judge(
        report, {4: idle, 8: closed}, heard([10, 10, 70, 120], [200, 200, 200, 429], ["full", "light", "full", ""])
    )
    ratios = report.ratios
    # The second run lasts .42 s, the first .31.
    assert abs(ratios["overload.goodput_share"] - 0.5 * 0.31 / 0.42) < 1e-9
    assert abs(ratios["overload.whole_share"] - 0.25 * 0.31 / 0.42) < 1e-9
    assert (ratios["overload.past_deadline_share"], ratios["overload.past_twice"]) == (0.5, 1)
    assert report.faults == []


def test_what_is_neither_a_page_nor_a_refusal_is_a_fault() -> None:
    report = Report("overload")
    overload.judge(report, {8: heard([10], [200], ["full"])}, heard([10, 10], [200, 503], ["full", ""]))
    assert report.faults == ["3 times that, Poisson: 1 answers were neither a page nor a refusal"]


def test_a_void_run_has_no_ratio() -> None:
    report = Report("overload")
    beyond = heard([10, 10], [200, 200], ["full", "full"], lag_ms=6.0)
    overload.judge(report, {8: heard([10], [200], ["full"])}, beyond)
    assert report.ratios == {}
    assert [row["void"] for row in report.rows] == ["False", "True"]


def test_every_answer_of_a_soak_must_be_a_whole_page() -> None:
    report = Report("soak")
    soak.judge(report, heard([10, 10], [200, 429], ["full", ""]))
    assert report.ratios["soak.errors"] == 1
    assert report.ratios["soak.dead_rooms"] == 0
    assert report.faults == ["1 answers were not 200", "1 pages did not hold 50 items"]


def test_within_a_deadline_rungs_and_refusals_are_counted_and_what_is_late_stands_beside_the_machine_s_stalls(
    tmp_path: Path,
) -> None:
    report, told = Report("soak"), tmp_path / "0"
    told.write_text("first\n0.21 0.24\n")
    answers = heard([10, 10, 60, 30], [200, 200, 200, 429], ["full", "last", "full", ""])
    soak.judge_hurried(report, answers, Stood([told]))
    assert {row["within_50_ms"]: row["answers"] for row in report.rows if "within_50_ms" in row} == {
        "full": 2,
        "last": 1,
        "refused": 1,
    }
    (late,) = [row for row in report.rows if "late_ms" in row]
    assert [round(float(ms)) for ms in late.values()] == [60, 30]
    assert report.ratios == {
        "soak.deadline_errors": 0,
        "soak.deadline_dead_rooms": 0,
        "soak.deadline_refused_share": 0.25,
        "soak.deadline_whole_share": 0.5,
        "soak.deadline_late_share": 0.25,
    }
    assert report.faults == []


def test_within_a_deadline_an_error_and_an_empty_page_are_faults() -> None:
    report = Report("soak")
    wrong = replace(heard([10, 10], [200, 503], ["full", ""]), items=np.array([3, 0]))
    soak.judge_hurried(report, wrong, Stood([]))
    assert report.ratios["soak.deadline_errors"] == 1
    assert report.faults == [
        "default deadline: 1 answers were neither 200 nor a refused page",
        "default deadline: 1 pages were short",
    ]


def test_counts_are_summed_by_whole_second() -> None:
    counts = np.array([1, 2, 4, 8])
    assert by_second(np.array([0.1, 0.9, 1.0, 2.5]), counts).tolist() == [3, 4]
    assert by_second(np.array([0.1, 0.2, 0.3, 0.4]), counts).tolist() == []
