"""A server in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from serving import guard as guards
from serving import lane as lanes
from serving.run import DRAIN_S

ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys
from serving import Settings, clock, run, serve
now_ms = int(sys.argv[3])
# No page is drawn to keep its decision: how many records there are must not hang on the names of requests.
settings = Settings(sys.argv[1], port=int(sys.argv[2]), decisions=0.0)
run.DRAIN_S = int(sys.argv[4])
serve(settings, lambda address: print(address, flush=True), (lambda: now_ms) if now_ms else clock.now_ms)
"""


Server = tuple["subprocess.Popen[str]", str]


class Time:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.ms = 0.0

    def __call__(self) -> float:
        return self.ms


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    """The clock that pages wait and are made by."""
    found = Time()
    monkeypatch.setattr(lanes, "elapsed_ms", found)
    monkeypatch.setattr(guards, "elapsed_ms", found)
    return found


@contextmanager
def served(home: Path, port: int = 0, now_ms: int = 0, drain_s: int = DRAIN_S) -> Iterator[Server]:
    """A server of a home in a process of its own, and its address.

    It takes any port that is free unless one is named, and its clock stands at ``now_ms`` where that is given.
    """
    command = [sys.executable, "-c", SCRIPT, str(home), str(port), str(now_ms), str(drain_s)]
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
        process.kill()


@pytest.fixture
def server(home: Path) -> Iterator[Server]:
    with served(home) as running:
        yield running
