"""The trials by fault and by odd request run at their smallest, and find nothing wrong; full sizes are for machines."""

from collections.abc import Callable

import pytest

from benchmarks import faults, fuzz
from benchmarks.bars import judged
from benchmarks.report import Report

TRIALS: dict[str, tuple[Callable[[], Report], set[str]]] = {
    "faults": (lambda: faults.measure(2, 0.5), {"acknowledged_lost", "pages_failed"}),
    "fuzz": (lambda: fuzz.measure(60), {"server_errors", "hangs", "tracebacks", "unknown_answers"}),
}


@pytest.mark.parametrize("name", TRIALS)
def test_a_small_trial_finds_nothing_wrong(name: str) -> None:
    measure, wanted = TRIALS[name]
    report = measure()
    assert report.faults == []
    assert len(report.rows) > 5
    assert {what: judged(f"{name}.{what}", report.ratios[f"{name}.{what}"])[2] for what in wanted} == dict.fromkeys(
        wanted, "met"
    )
