"""A server in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys
from serving import Settings, serve
# No page is drawn to keep its decision: how many records there are must not hang on the names of requests.
serve(Settings(sys.argv[1], port=0, decisions=0.0), lambda address: print(address, flush=True))
"""


Server = tuple["subprocess.Popen[str]", str]


@contextmanager
def served(home: Path) -> Iterator[Server]:
    """A server of a home in a process of its own, and its address."""
    command = [sys.executable, "-c", SCRIPT, str(home)]
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
        process.kill()


@pytest.fixture
def server(home: Path) -> Iterator[Server]:
    with served(home) as running:
        yield running
