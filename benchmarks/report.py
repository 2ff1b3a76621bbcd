"""What a benchmark hands back, and the machine it says it ran on."""

import os
import platform
import resource
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from llvmlite import binding

from features.types import AnyArray

Row = dict[str, str | float]
PACKAGES = (
    "faiss-cpu", "hnswlib", "lightgbm", "litestar", "llvmlite", "msgspec", "numba", "numpy", "onnxruntime", "pyarrow",
    "tl2cgen", "treelite", "uvloop",
)  # fmt: skip
"""What figures hang on, beside SQLite; peers where they are installed."""
WIDTHS = ("avx2", "avx512f")
"""Features of a processor that decide how many rows a kernel takes at a time."""
LOOK_S = 0.005


def versions() -> dict[str, str]:
    """Of the packages that are installed, and of SQLite."""
    found = {"sqlite": sqlite3.sqlite_version}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return dict(sorted(found.items()))


def machine() -> dict[str, str | int | bool]:
    """Processor and what it can, cores, threads it may run at once, system and Python."""
    names = Path("/proc/cpuinfo")
    lines = names.read_text().splitlines() if names.exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    able = binding.get_host_cpu_features()
    return {
        "processor": model or platform.processor() or platform.machine(),
        "cores": os.cpu_count() or 0,
        "threads": threads(),
        **{name: bool(able.get(name, False)) for name in WIDTHS},
        "system": platform.system(),
        "python": platform.python_version(),
    }


def threads() -> int:
    """Threads that this process may run at once: fewer than cores where it is pinned to some."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass
class Report:
    """Rows of figures, ratios by name, and the faults that make the run fail.

    ``spreads`` are the lower and the upper quartile of a ratio over the turns of the run, or its seconds, where it has
    any. The machine is told as it is when the report is begun: a load generator pins its process to a core later.
    """

    benchmark: str
    rows: list[Row] = field(default_factory=list)
    ratios: dict[str, float] = field(default_factory=dict)
    spreads: dict[str, tuple[float, float]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    began_on: dict[str, str | int | bool] = field(default_factory=machine)
    began: str = field(default_factory=lambda: time.strftime("%Y-%m-%d", time.gmtime()))

    def keep(self, name: str, ratio: float, turns: Sequence[float] | AnyArray) -> None:
        """Keep a ratio, and between what it was in half of the turns or seconds, if there are any."""
        self.ratios[name] = ratio
        if len(turns):
            lower, upper = np.quantile(np.asarray(turns, np.float64), [0.25, 0.75]).tolist()
            self.spreads[name] = lower, upper

    def as_json(self) -> dict[str, object]:
        """What ``--json`` writes."""
        return {
            "benchmark": self.benchmark,
            "date": self.began,
            "machine": self.began_on,
            "versions": versions(),
            "rows": self.rows,
            "ratios": self.ratios,
            "spreads": self.spreads,
            "faults": self.faults,
        }


def say(what: str) -> None:
    """Tell whoever waits what is being done now: on standard error, since tables go to the other."""
    print(f"  {time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


def interleaved(runs: Sequence[Callable[[], object]], times: int) -> list[list[float]]:
    """Milliseconds of each run, taken in turn so that a drifting machine drifts for all; the first turn warms up."""
    took: list[list[float]] = [[] for _ in runs]
    for turn in range(times + 1):
        for run, list_of in zip(runs, took, strict=True):
            start = time.perf_counter()
            run()
            if turn:
                list_of.append(1e3 * (time.perf_counter() - start))
    return took


def times_as_long(took: Sequence[float], beside: Sequence[float]) -> tuple[float, list[float]]:
    """How many times as long as another something took in turns: the medians' ratio, and that of every turn."""
    each = [over / under for over, under in zip(took, beside, strict=True)]
    return float(np.median(took) / np.median(beside)), each


def in_blocks(runs: Sequence[Callable[[], object]], times: int, size: int) -> list[list[float]]:
    """Milliseconds of each run, so many of one in a row and then as many of the next, until each had ``times``.

    All count, the first of a block too, which finds the caches full of the other's.
    """
    took: list[list[float]] = [[] for _ in runs]
    for start in range(0, times, size):
        for run, list_of in zip(runs, took, strict=True):
            for _ in range(min(size, times - start)):
                before = time.perf_counter()
                run()
                list_of.append(1e3 * (time.perf_counter() - before))
    return took


def quantiles(took: Sequence[float]) -> Row:
    """p50, p95, p99 and p99.9 in ms."""
    names = ("p50_ms", "p95_ms", "p99_ms", "p99_9_ms")
    return dict(zip(names, np.quantile(took, [0.5, 0.95, 0.99, 0.999]).round(4).tolist(), strict=True))


def resident_gib(process: int | str = "self") -> float:
    """Memory that a process holds now, this one by default; its own peak where the system does not tell."""
    status = Path(f"/proc/{process}/statm")
    return int(status.read_text().split()[1]) * resource.getpagesize() / 2**30 if status.exists() else peak_gib()


def peak_gib() -> float:
    """The most memory that this process has held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**30 if platform.system() == "Darwin" else peak / 2**20


def free_gib() -> float:
    """Memory that processes may still take, infinite where the system does not tell."""
    told = Path("/proc/meminfo")
    lines = told.read_text().splitlines() if told.exists() else []
    return next((int(line.split()[1]) / 2**20 for line in lines if line.startswith("MemAvailable")), float("inf"))


@contextmanager
def peaking() -> Iterator[list[float]]:
    """The most memory in GiB that this process holds meanwhile: the list's one number, once it is over.

    As the kernel marks it, where the mark can be set back; else as seen every few milliseconds.
    """
    most, stop = [resident_gib()], threading.Event()

    def look() -> None:
        while not stop.wait(LOOK_S):
            most[0] = max(most[0], resident_gib())

    marked, thread = _set_back(), threading.Thread(target=look)
    thread.start()
    try:
        yield most
    finally:
        stop.set()
        thread.join()
        most[0] = max(most[0], _mark_gib() if marked else 0.0)


def _set_back() -> bool:
    """Have the kernel mark the peak from now on; False where it cannot."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _mark_gib() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next((int(line.split()[1]) / 2**20 for line in lines if line.startswith("VmHWM")), 0.0)
