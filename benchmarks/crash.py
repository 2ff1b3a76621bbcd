"""Kill -9 at random moments under load: what was acknowledged is there once, and the state is as if nothing had been.

A kill spares what the system has buffered; two more parts look at what a power cut would take. The write-ahead file is
cut at every frame and in the middle of every frame, and the server's calls are traced: an answer goes out only after
the file it speaks of was synced.
"""

import random
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from benchmarks.crash_load import ROOT, Load, serving
from benchmarks.crash_sync import answers_before_sync, lost_by_cuts
from benchmarks.market import NOW_MS, Market, make_market
from benchmarks.report import Report, Row, say
from features import snapshot
from features.fold.storage import leaves
from features.logs.live import HomeLog
from features.state import FeatureState
from ranking.bundles.bundle import load
from ranking.bundles.pointer import current
from serving.snapshots import COMMAND, LEFT

MARKET = Market(100, 900, 200, 2_000, samples=1_000, trees=5, leaves=15)
LONGEST_S = 0.6
"""A server is killed at most so long after it has begun to answer."""


def run(*, quick: bool) -> Report:
    """200 kills (5 when quick, each a start of two seconds), the cuts, and the traced server where strace is."""
    with tempfile.TemporaryDirectory() as folder:
        make_market(Path(folder) / "home", MARKET)
        report = killed(Path(folder) / "home", 5 if quick else 200)
        _cut(report, Path(folder) / "cut", 20 if quick else 200)
        _traced(report, Path(folder) / "home", 10 if quick else 300)
    return report


def killed(home: Path, rounds: int) -> Report:
    """Serve, load, kill, look; so many times."""
    report, draw = Report("crash"), random.Random(1)  # noqa: S311  # moments
    judge = _Judge(home)
    took: list[tuple[int, float]] = []
    asking = Load(NOW_MS)
    snapshots: list[subprocess.Popen[bytes]] = []
    for number in range(rounds):
        behind = judge.behind_snapshot()
        begun = time.perf_counter()
        with serving(home, NOW_MS) as server:
            took.append((behind, 1e3 * (time.perf_counter() - begun)))
            with asking.sent_to(server.address):
                if number % 5 == 4:
                    snapshots.append(_snapshot(home))
                time.sleep(draw.uniform(0, LONGEST_S))
                server.kill()
        if number % 5 == 4:
            _ended(snapshots[-1])
        judge.look()
        if number % 20 == 19:
            say(f"{number + 1} of {rounds} kills, {len(asking.acknowledged):,} events acknowledged")
    if any(taking.returncode not in (0, LEFT) for taking in snapshots):
        report.faults.append("a snapshot beside a server failed")
    lost, twice = judge.count(asking.acknowledged)
    report.rows.append(
        {
            "system": "kill -9", "kills": rounds, "events_acknowledged": len(asking.acknowledged),
            "pages": asking.pages, "batches_sent_again": asking.again, "log": judge.end,
        }
    )  # fmt: skip
    report.rows += _recovery(took)
    report.ratios |= {
        "crash.acknowledged_lost": float(lost),
        "crash.duplicated": float(twice),
        "crash.state_differs": float(judge.differs),
    }
    report.faults += [f"{name} is {value:g}" for name, value in report.ratios.items() if value]
    report.faults += asking.faults
    if not asking.acknowledged or not asking.pages:
        report.faults.append("there was no load to be killed under")
    return report


def _snapshot(home: Path) -> "subprocess.Popen[bytes]":
    """A snapshot as a server has them taken, under way while it is killed."""
    return subprocess.Popen([*COMMAND, str(home)], cwd=ROOT, stdin=subprocess.PIPE)


def _ended(snapshot: "subprocess.Popen[bytes]") -> int:
    """How a snapshot ends once it learns that its server is no more."""
    snapshot.communicate()
    return snapshot.returncode


def _recovery(took: list[tuple[int, float]]) -> list[Row]:
    """How long a start takes, from a process to its first answer, by records that no snapshot holds."""
    ordered = sorted(took)
    rows: list[Row] = []
    for part in np.array_split(np.array(ordered), min(4, len(ordered))):
        beyond, ms = part[:, 0], part[:, 1]
        rows.append(
            {
                "system": "restart", "records_to_fold": f"{int(beyond[0])} to {int(beyond[-1])}",
                "starts": len(part), "p50_ms": float(np.median(ms)), "most_ms": float(ms.max()),
            }
        )  # fmt: skip
    return rows


class _Judge:
    """Reads the log of a killed server, and folds it on in a state that never stopped."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._layout = load(current(home / "bundles")).feature_set.layout
        self._whole = FeatureState(self._layout)
        self._ids: dict[int, str] = {}
        self.differs = self.end = 0
        self.look()
        self._ids.clear()

    def behind_snapshot(self) -> int:
        """Records that the newest snapshot does not hold."""
        return self.end - max(int(path.name[-12:]) for path in (self._home / "state").glob(f"*-{'[0-9]' * 12}"))

    def look(self) -> None:
        """Fold what came, and compare with what a restart makes of snapshot and log."""
        with HomeLog(self._home / "log", writer=False) as log:
            self.end = log.end()
            for batch in log.read(self._whole.offset, self.end):
                self._whole.fold(batch)
                offsets, names = batch["offset"].to_pylist(), batch["event_id"].to_pylist()
                self._ids |= {at: name for at, name in zip(offsets, names, strict=True) if name}
            again = snapshot.restored(self._layout, log, self._home / "state")
        self.differs += not _same(again, self._whole)

    def count(self, acknowledged: dict[str, int]) -> tuple[int, int]:
        """Acknowledged events that are not at the offset they were told; events that are there more than once."""
        lost = sum(self._ids.get(offset) != name for name, offset in acknowledged.items())
        return lost, sum(times - 1 for times in Counter(self._ids.values()).values())


def _same(left: FeatureState, right: FeatureState) -> bool:
    """Whether two states hold the same bits, in rows that either uses."""
    known = [
        (state.offset, state.received_ms, state.ignored.tolist(), state.users.names, state.items.names, state.hidden)
        for state in (left, right)
    ]
    pairs = [(a, b, min(len(a), len(b))) for a, b in zip(leaves(left.arrays), leaves(right.arrays), strict=True)]
    return known[0] == known[1] and all(a[:rows].tobytes() == b[:rows].tobytes() for a, b, rows in pairs)


def _cut(report: Report, folder: Path, batches: int) -> None:
    cuts, lost = lost_by_cuts(folder, batches)
    report.rows.append({"system": "write-ahead file cut", "cuts": cuts, "lost": lost})
    report.ratios["crash.lost_by_cuts"] = float(lost)
    if lost:
        report.faults.append(f"{lost} of {cuts} cuts after the last sync lost what was acknowledged")


def _traced(report: Report, home: Path, batches: int) -> None:
    if shutil.which("strace") is None:
        report.rows.append({"system": "traced", "skipped": "strace is not installed"})
        return
    found = answers_before_sync(home, NOW_MS, batches)
    if isinstance(found, str):
        report.rows.append({"system": "traced", "skipped": found})
        return
    answers, syncs, early = found
    report.rows.append({"system": "traced", "answers": answers, "syncs": syncs, "before_sync": early})
    report.ratios["crash.answers_before_sync"] = float(early)
    if early or answers < batches:
        report.faults.append(f"{early} of {answers} answers went out before a sync covered them")
