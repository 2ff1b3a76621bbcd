"""Where the time of a process goes: on a processor, in line for one, or in collections of garbage."""

import gc
import time
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

TASKS = Path("/proc/self/task")


class Spent(NamedTuple):
    """Milliseconds of all threads of a process: on a processor, waiting for one that another has, and collecting."""

    ran_ms: float
    in_line_ms: float
    collected_ms: float


class Witness:
    """Adds up what this process spends while it is entered; only collections where the system tells no more."""

    def __init__(self) -> None:
        self._collected_ms = self._began = 0.0

    def __enter__(self) -> Self:
        gc.callbacks.append(self._collects)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        gc.callbacks.remove(self._collects)

    def spent(self) -> Spent:
        """What was spent so far."""
        ran, waited = (sum(nanoseconds) / 1e6 for nanoseconds in zip(*_told(), strict=True))
        return Spent(ran, waited, self._collected_ms)

    def since(self, before: Spent) -> Spent:
        """What was spent since."""
        return Spent(*(now - then for now, then in zip(self.spent(), before, strict=True)))

    def _collects(self, phase: str, _: dict[str, int]) -> None:
        if phase == "start":
            self._began = time.perf_counter()
        else:
            self._collected_ms += 1e3 * (time.perf_counter() - self._began)


def _told() -> list[tuple[int, int]]:
    """Nanoseconds that each thread ran and waited, by the scheduler."""
    found = [(0, 0)]
    for task in TASKS.iterdir() if TASKS.is_dir() else ():
        try:
            ran, waited, _ = map(int, (task / "schedstat").read_text().split())
        except OSError:
            continue  # It has ended, or the system does not tell.
        found.append((ran, waited))
    return found
