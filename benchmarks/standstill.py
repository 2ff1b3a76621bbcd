"""When the machine stood still: on each core a process that comes before all others does nothing but wake.

Where it comes late nothing else could run on that core either: whoever lends the machine had taken it, or the kernel.
Without leave to come first it tells that the core was busy, and says so.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.report import Row

WAKE_S = 0.005
LATE_MS = 5.0
"""What is late by less is told by nobody."""
FIRST, BESIDE = "first", "beside"
"""Whether a watcher comes before all others on its core, or takes its turn."""


class Stood:
    """When cores stood still, as their watchers have written it down: seconds by ``time.perf_counter``."""

    def __init__(self, told: Sequence[Path]) -> None:
        self._told = told

    def longest_ms(self, began: float, ended: float) -> float:
        """The longest that any core stood still between two moments."""
        stood = [min(stop, ended) - max(start, began) for start, stop in self._spans()]
        return 1e3 * max(0.0, *stood) if stood else 0.0

    def row(self) -> Row:
        """How often and for how long, on all cores; and how far it can be believed."""
        took = [1e3 * (stop - start) for start, stop in self._spans()]
        stood: Row = {"machine": "stood still", "times": len(took), "ms": sum(took), "most_ms": max(took, default=0.0)}
        return stood | {"watched": " ".join(sorted({line[0] for line in self._lines() if len(line) == 1}))}

    def _spans(self) -> list[tuple[float, float]]:
        return [(float(line[0]), float(line[1])) for line in self._lines() if len(line) > 1]

    def _lines(self) -> list[list[str]]:
        return [line.split() for path in self._told for line in path.read_text("utf-8").splitlines()]


@contextmanager
def watched() -> Iterator[Stood]:
    """Watch every core that this process may run on."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    with tempfile.TemporaryDirectory() as folder:
        told = [Path(folder) / str(core) for core in cores]
        watchers = [_watcher(core, path) for core, path in zip(cores, told, strict=True)]
        try:
            yield Stood(told)
        finally:
            for watcher in watchers:
                watcher.kill()
                watcher.wait()


def _watcher(core: int, told: Path) -> "subprocess.Popen[bytes]":
    environ = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    with told.open("wb") as file:
        return subprocess.Popen([sys.executable, "-m", "benchmarks.standstill", str(core)], stdout=file, env=environ)


def _main() -> None:
    print(FIRST if _goes_first(int(sys.argv[1])) else BESIDE, flush=True)
    parent, due = os.getppid(), time.perf_counter() + WAKE_S
    while os.getppid() == parent:
        time.sleep(max(due - time.perf_counter(), 0.0))
        now = time.perf_counter()
        if 1e3 * (now - due) > LATE_MS:
            print(due, now, flush=True)
        due = now + WAKE_S


def _goes_first(core: int) -> bool:
    """Keep to a core, before all who are not of real-time priority; False where that is not allowed."""
    with suppress(AttributeError, OSError):
        os.sched_setaffinity(0, {core})
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        return True
    return False


if __name__ == "__main__":
    _main()
