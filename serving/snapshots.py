"""Snapshots while a server runs, made by a process of their own: no page and no append ever waits for one.

The process reads the log as any reader does, goes on from the last snapshot, and keeps the next one. It takes memory of
its own for a state meanwhile, and the processor's time at the lowest priority.
"""

import logging
import os
import subprocess
import sys
from pathlib import Path
from threading import Thread

from features import snapshot
from features.errors import HuozhaoError
from features.logs.live import HomeLog
from ranking.bundles.bundle import load
from ranking.bundles.pointer import current
from ranking.engine import Engine
from serving.watch import Watch

LOOK_S = 2.0
"""How often it is looked how far the log has come."""
OVERTAKEN = 75
"""How the process ends where somebody was erased while it wrote: the next look takes another."""
LEFT = 76
"""How it ends where the server that asked for it is no more."""
COMMAND = (sys.executable, "-c", "import os; os.nice(19); from serving.snapshots import main; main()")
"""It gives way before it imports anything: importing takes a second, and threads keep what they began with."""

_log = logging.getLogger(__name__)


class Snapshots(Watch):
    """Takes a snapshot whenever so many records have come since the last one, in a thread and a process of its own.

    One is taken as well when somebody was erased, as the snapshots of before went with it.

    Parameters
    ----------
    engine : Engine
        Opened as the writer; it takes the last snapshot itself when it closes.
    every : int
        Records.
    look_s : float
        Seconds between looks.
    """

    def __init__(self, engine: Engine, every: int, look_s: float = LOOK_S) -> None:
        super().__init__("snapshots", look_s)
        self._engine = engine
        self._every = every
        self._last, self._erasures = engine.status(0).offset, engine.erasures()

    def _look(self) -> None:
        offset, erasures = self._engine.status(0).offset, self._engine.erasures()
        if offset - self._last >= self._every or erasures != self._erasures:
            # One that failed is not tried again before as many records more.
            self._last, self._erasures = offset, erasures
            self._take()

    def _take(self) -> None:
        command = [*COMMAND, str(self._engine.home)]
        with subprocess.Popen(command, stdin=subprocess.PIPE) as process:  # noqa: S603  # our own module
            while process.poll() is None:
                if self._told_to_stop.wait(0.05):
                    process.kill()
                    return
        if process.returncode == OVERTAKEN:
            self._erasures = -1
        elif process.returncode:
            _log.error("A snapshot could not be taken; the log alone keeps all it would hold")


def take(home: Path) -> Path:
    """Keep a snapshot of a home's log as it is now, of the layout of its current bundle.

    Raises
    ------
    OvertakenError
        If somebody was erased meanwhile; nothing is kept.
    """
    layout = load(current(home / "bundles")).feature_set.layout
    with HomeLog(home / "log", writer=False, by_ids=False) as log:
        erasures = log.erasures()
        state = snapshot.restored(layout, log, home / "state")
        return snapshot.save(state, home / "state", wanted=lambda: log.erasures() == erasures)


def _end_with_server() -> None:
    """End this process when its standard input ends: the server that held the other end is no more.

    Servers that are killed again and again would leave as many of these behind, each with a state in memory.
    """
    sys.stdin.buffer.read()
    os._exit(LEFT)


def main() -> None:
    """Take a snapshot of the home that the command line names; a fault is told in a line."""
    Thread(target=_end_with_server, daemon=True).start()
    try:
        take(Path(sys.argv[1]))
    except snapshot.OvertakenError:
        sys.exit(OVERTAKEN)
    except (HuozhaoError, OSError) as error:
        sys.exit(f"{error}")
