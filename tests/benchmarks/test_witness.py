"""What stands beside a late page: where its process's time went, and whether the machine stood still."""

import gc
import os
import signal
import time
from pathlib import Path

import pytest

from benchmarks.standstill import Stood, watched
from benchmarks.witness import TASKS, Witness


def test_collections_are_counted_while_somebody_looks() -> None:
    with Witness() as witness:
        before = witness.spent()
        gc.collect()
        assert witness.since(before).collected_ms > 0
    collected = witness.spent().collected_ms
    gc.collect()
    assert witness.spent().collected_ms == collected


@pytest.mark.skipif(not TASKS.is_dir(), reason="the system does not tell")
def test_time_on_a_processor_is_counted() -> None:
    with Witness() as witness:
        before, until = witness.spent(), time.process_time() + 0.05
        while time.process_time() < until:
            pass
        assert witness.since(before).ran_ms > 25


def test_the_longest_standstill_of_any_core_within_a_while_is_told(tmp_path: Path) -> None:
    told = [tmp_path / "0", tmp_path / "1"]
    told[0].write_text("first\n1.0 1.1\n5.0 5.5\n")
    told[1].write_text("beside\n1.05 1.35\n")
    stood = Stood(told)
    assert stood.longest_ms(1.0, 1.25) == pytest.approx(200)
    assert stood.longest_ms(2.0, 4.0) == 0
    assert stood.row() == {
        "machine": "stood still",
        "times": 3,
        "ms": pytest.approx(900),
        "most_ms": pytest.approx(500),
        "watched": "beside first",
    }


@pytest.mark.skipif(not TASKS.is_dir(), reason="the system does not tell of children")
def test_a_watcher_that_was_kept_from_waking_says_so() -> None:
    with watched() as stood:
        while not stood.row()["watched"]:
            time.sleep(0.01)
        began, watchers = time.perf_counter(), _children()
        for sign in (signal.SIGSTOP, signal.SIGCONT):
            for watcher in watchers:
                os.kill(watcher, sign)
            time.sleep(0.05)
        while not stood.row()["times"]:
            time.sleep(0.01)
        assert stood.longest_ms(began, time.perf_counter()) > 0


def _children() -> list[int]:
    return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
