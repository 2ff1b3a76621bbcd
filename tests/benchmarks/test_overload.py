"""How answers under load are judged: what is late, lesser, refused or wrong."""

import numpy as np

from benchmarks import overload, soak
from benchmarks.load import Heard
from benchmarks.report import Report


def heard(took_ms: list[float], status: list[int], whole: list[bool], lag_ms: float = 0.0) -> Heard:
    """Answers to pages that were due a tenth of a second apart."""
    due = np.arange(len(took_ms)) / 10
    return Heard(
        kind=np.array(["feed"] * len(took_ms)),
        due=due,
        done=due + np.array(took_ms) / 1e3,
        status=np.array(status),
        items=np.where(np.array(status) == 200, 50, 0),
        accepted=np.zeros(len(took_ms), np.int64),
        whole=np.array(whole),
        lag_ms=np.full(len(took_ms), lag_ms),
        dead=(),
    )


def test_only_pages_in_time_are_goodput_and_late_refusals_are_late() -> None:
    report = Report("overload")
    closed = heard([10, 10, 10, 10], [200] * 4, [True] * 4)
    overload.judge(report, closed, heard([10, 10, 70, 120], [200, 200, 200, 429], [True, False, True, False]))
    ratios = report.ratios
    # The second run lasts .42 s, the first .31.
    assert abs(ratios["overload.goodput_share"] - 0.5 * 0.31 / 0.42) < 1e-9
    assert abs(ratios["overload.whole_share"] - 0.25 * 0.31 / 0.42) < 1e-9
    assert (ratios["overload.past_deadline_share"], ratios["overload.past_twice"]) == (0.5, 1)
    assert report.faults == []


def test_what_is_neither_a_page_nor_a_refusal_is_a_fault() -> None:
    report = Report("overload")
    overload.judge(report, heard([10], [200], [True]), heard([10, 10], [200, 503], [True, False]))
    assert report.faults == ["3 times that, Poisson: 1 answers were neither a page nor a refusal"]


def test_a_void_run_has_no_ratio() -> None:
    report = Report("overload")
    overload.judge(report, heard([10], [200], [True]), heard([10, 10], [200, 200], [True, True], lag_ms=6.0))
    assert report.ratios == {}
    assert [row["void"] for row in report.rows] == ["False", "True"]


def test_every_answer_of_a_soak_must_be_a_whole_page() -> None:
    report = Report("soak")
    soak.judge(report, heard([10, 10], [200, 429], [True, False]))
    assert report.ratios["soak.errors"] == 1
    assert report.ratios["soak.dead_rooms"] == 0
    assert report.faults == ["1 answers were not 200", "1 pages did not hold 50 items"]
