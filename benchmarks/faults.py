"""A disk that is full and clocks that leap beside a running engine: pages go on, errors have names, none is lost."""

import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.crash import MARKET
from benchmarks.market import NOW_MS, make_market
from benchmarks.report import Report, Row, quantiles
from features.errors import HuozhaoError
from features.live import HomeLog
from features.records import Action, Event
from ranking import Engine, FeedRequest

PAGE = 20
ROOM_BYTES = 20_000
"""How much the write-ahead file may still grow where the disk is nearly full."""


def run(*, quick: bool) -> Report:
    """Each fault for a while, and what came after it: 50 appends and pages a fault (500 when not quick)."""
    report, times = Report("faults"), 50 if quick else 500
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        make_market(home, MARKET)
        with Engine.open(home) as engine:
            trial = _Trial(engine, report, times)
            trial.meet("none", lambda: NOW_MS, lambda: None, lambda: None, refuses=False)
            soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            most = (home / "log" / "live.sqlite-wal").stat().st_size + ROOM_BYTES
            trial.meet(
                "disk full",
                lambda: NOW_MS,
                lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard)),
                lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard)),
                refuses=True,
            )
            trial.meet("clock a minute back", lambda: NOW_MS - 60_000, lambda: None, lambda: None, refuses=False)
            trial.meet("clock a day back", lambda: NOW_MS - 86_400_000, lambda: None, lambda: None, refuses=True)
        with HomeLog(home / "log", writer=False) as log:
            kept = {name for batch in log.read() for name in batch["event_id"].to_pylist()}
    lost = len(trial.acknowledged - kept)
    unasked = len({name for name in kept if name.startswith("fault-")} - trial.acknowledged)
    report.ratios |= {"faults.acknowledged_lost": float(lost), "faults.pages_failed": float(trial.failed)}
    if lost or unasked or trial.failed:
        report.faults.append(f"{lost} acknowledged events lost, {unasked} refused kept, {trial.failed} pages failed")
    return report


class _Trial:
    """Appends and asks for pages under one fault after the other."""

    def __init__(self, engine: Engine, report: Report, times: int) -> None:
        self._engine, self._report, self._times = engine, report, times
        self.acknowledged: set[str] = set()
        self.failed = 0

    def meet(
        self,
        fault: str,
        now_ms: Callable[[], int],
        begin: Callable[[], None],
        end: Callable[[], None],
        *,
        refuses: bool,
    ) -> None:
        """Live through a fault, then see that the engine takes records again."""
        took: list[float] = []
        refused: list[str] = []
        begin()
        try:
            for number in range(self._times):
                refused += self._append(f"fault-{fault}-{number}", now_ms())
                started = time.perf_counter()
                self._page(f"{fault}-{number}")
                took.append(1e3 * (time.perf_counter() - started))
        finally:
            end()
        after = self._append(f"fault-{fault}-after", NOW_MS)
        names: Row = {"refused": len(refused), "refused_after": len(after), "said": refused[0][:60] if refused else ""}
        self._report.rows.append({"system": fault, "appends": self._times, **names, **quantiles(took)})
        if bool(refused) != refuses or after:
            self._report.faults.append(f"{fault}: {len(refused)} appends refused, {len(after)} after it")

    def _append(self, name: str, now_ms: int) -> list[str]:
        """Twenty events; what was said where they were refused."""
        events = [Event(f"{name}-{n}", now_ms, f"i{n}", Action.LIKE, "u1") for n in range(20)]
        try:
            acks = self._engine.append(events, now_ms)
        except HuozhaoError as error:
            return [str(error).rpartition("/")[2]]
        self.acknowledged |= {event.event_id for event in events}
        return [ack.error for ack in acks if ack.status != "accepted"]

    def _page(self, name: str) -> None:
        page = self._engine.feed(FeedRequest(user_id="u2", count=PAGE), NOW_MS, name)
        self.failed += len(page.items) != PAGE
