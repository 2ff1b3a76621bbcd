"""A server of its own for a benchmark: pinned to a core, its clock set to the home's time."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.load import SERVER_CORE, pin
from ranking import Engine, FeedRequest
from serving import Settings, serve

WARMING = 64


class Served(NamedTuple):
    """Where it answers, its process, and how long its engine took for a page when asked in process, p50 in ms."""

    address: str
    process: int
    feed_ms: float


@contextmanager
def served(home: Path, now_ms: int, people: Sequence[str] = (), count: int = 50) -> Iterator[Served]:
    """A server of a home whose clock stands at ``now_ms`` as it starts; told to stop, and waited for, at the end.

    Before it serves, the same process on the same core asks its engine for a page a person, in turn.
    """
    given = json.dumps([str(home), now_ms, list(people), count])
    environ = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.served"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environ,
    ) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("The server has no pipes.")
        process.stdin.write(given)
        process.stdin.close()
        feed_ms, address = process.stdout.readline(), process.stdout.readline()
        try:
            if not address:
                raise RuntimeError("The server did not start; it says above why.")
            yield Served(address.strip(), process.pid, float(feed_ms))
        finally:
            process.terminate()
            process.wait(timeout=60)


def _main() -> None:
    home, now_ms, people, count = json.load(sys.stdin)
    pin(SERVER_CORE)
    print(_in_process(Path(home), now_ms, people, count), flush=True)
    started = time.monotonic_ns()

    def clock() -> int:
        return int(now_ms) + (time.monotonic_ns() - started) // 1_000_000

    serve(Settings(home, port=0), lambda address: print(address, flush=True), clock)


def _in_process(home: Path, now_ms: int, people: Sequence[str], count: int) -> float:
    took: list[float] = []
    with Engine.open(home) as engine:
        for number, user in enumerate([*people[:WARMING], *people]):
            start = time.perf_counter()
            engine.feed(FeedRequest(user_id=user, count=count), now_ms, f"in-process-{number}")
            took.append(1e3 * (time.perf_counter() - start))
    return float(np.median(took[min(WARMING, len(people)) :])) if people else 0.0


if __name__ == "__main__":
    _main()
