"""What fails beside a running engine: pages go on, legal and in time or refused by a named error, and none is lost.

Pages go the way that a server's go, by its lane of two threads in a process that is settled as a server's is, without
HTTP. A page that comes late is told with where its time went.
Faults come in where the real parts meet: a source, the ranker or who reads rows raises or sleeps, the disk takes no
byte more, the clock leaps; a server of its own runs on a disk whose every sync takes a fifth of a second.
"""

import asyncio
import gc
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple

from benchmarks.crash import MARKET
from benchmarks.crash_load import event_ids
from benchmarks.faults_disk import slow_disk
from benchmarks.faults_parts import PARTS, failing
from benchmarks.market import NOW_MS, make_market
from benchmarks.report import Report, Row, quantiles
from benchmarks.standstill import Stood, watched
from benchmarks.witness import Spent, Witness
from features.errors import HuozhaoError
from features.records import Action, Event, Item, Kind
from ranking import Engine, FeedRequest
from ranking.api import AliveRequest, Feed
from serving.lane import Lane
from serving.run import settle

PAGE = 20
DEADLINE_MS = 50.0
SLOW_MS = 200.0
"""What a part takes that is slow: four deadlines."""
FULL_BYTES = 64 << 10
"""No file may be written beyond its first so many bytes where the disk is full: less than some appends take."""
TAKEN_DOWN = tuple(f"i{n}" for n in range(0, 400, 7))
"""Items that no page may hold."""


def run(*, quick: bool) -> Report:
    """Each fault for a while, and what came after it: 50 appends and pages a fault (500 when not quick)."""
    return measure(50, 2) if quick else measure(500, 20)


def measure(times: int, seconds: float) -> Report:
    """So many appends and pages a fault; then, for so long, a disk that is slow to sync."""
    report = Report("faults")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        make_market(home, MARKET)
        with Engine.open(home) as engine, asyncio.Runner() as runner, watched() as stood, Witness() as witness:
            engine.append([Item(name, NOW_MS, Kind.PRODUCT, listed=False) for name in TAKEN_DOWN], NOW_MS)
            engine.warm(NOW_MS)
            trial = _Trial(engine, runner, witness, report, times)
            with _settled():
                _parts(trial)
                _surroundings(trial)
            report.rows += [late.row(stood) for late in trial.late]
            report.rows.append(stood.row())
        _kept(report, trial, home)
        slow_disk(report, home, seconds)
    report.ratios |= {
        "faults.pages_failed": float(trial.failed),
        "faults.pages_late": len(trial.late) / max(trial.pages, 1),
    }
    if trial.failed:
        report.faults.append(f"{trial.failed} pages failed, were short or held what may not be shown")
    return report


def _parts(trial: "_Trial") -> None:
    """Parts of the engine that raise, and that are slow."""
    generation = trial.engine.generation
    trial.meet("none", nullcontext())
    for part in PARTS:
        trial.meet(f"{part} raises", failing(generation, part, 0.0), degrades=True)
        trial.meet(f"{part} slow", failing(generation, part, SLOW_MS / 1e3), degrades=True)


def _surroundings(trial: "_Trial") -> None:
    """The disk and the clock."""
    trial.meet("disk full", full_disk(FULL_BYTES), refuses=True)
    trial.meet("clock a minute back", nullcontext(), now_ms=NOW_MS - 60_000)
    trial.meet("clock a day back", nullcontext(), now_ms=NOW_MS - 86_400_000, refuses=True)
    # The last: what was received a minute ahead is where the log is from then on.
    trial.meet("clock a minute ahead", nullcontext(), now_ms=NOW_MS + 60_000)


@contextmanager
def _settled() -> Iterator[None]:
    """As a server's process is while it answers; afterwards as it was."""
    switch_s = sys.getswitchinterval()
    settle()
    try:
        yield
    finally:
        gc.unfreeze()
        sys.setswitchinterval(switch_s)


@contextmanager
def full_disk(most: int) -> Iterator[None]:
    """No file of this process may grow beyond so many bytes, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _kept(report: Report, trial: "_Trial", home: Path) -> None:
    """Whether the log holds what was acknowledged and nothing that was refused."""
    kept = event_ids(home)
    lost = len(trial.acknowledged - kept)
    unasked = len({name for name in kept if name.startswith("fault-")} - trial.acknowledged)
    report.ratios["faults.acknowledged_lost"] = float(lost)
    if lost or unasked:
        report.faults.append(f"{lost} acknowledged events lost, {unasked} refused kept")


class _Late(NamedTuple):
    """A page that came after its deadline: by ``time.perf_counter``, and what the process spent meanwhile."""

    page: str
    began: float
    ended: float
    spent: Spent

    def row(self, stood: Stood) -> Row:
        took: Row = {"late_page": self.page, "took_ms": 1e3 * (self.ended - self.began)}
        return took | self.spent._asdict() | {"machine_stood_ms": stood.longest_ms(self.began, self.ended)}


class _Trial:
    """Appends and asks for pages under one fault after the other."""

    def __init__(self, engine: Engine, runner: asyncio.Runner, witness: Witness, report: Report, times: int) -> None:
        self.engine = engine
        self._lane, self._runner, self._witness = Lane(2), runner, witness
        self._report, self._times = report, times
        self.acknowledged: set[str] = set()
        self.late: list[_Late] = []
        self.pages = self.failed = 0

    def meet(
        self,
        fault: str,
        under: AbstractContextManager[None],
        *,
        now_ms: int = NOW_MS,
        refuses: bool = False,
        degrades: bool = False,
    ) -> None:
        """Live through a fault, then see that the engine takes records and makes whole pages again."""
        took: list[float] = []
        refused: list[str] = []
        pages: list[Feed] = []
        with under:
            for number in range(self._times):
                refused += self._append(f"fault-{fault}-{number}", now_ms)
                pages += self._page(f"{fault}-{number}", took)
        after = self._append(f"fault-{fault}-after", max(now_ms, NOW_MS))
        levels = Counter(f"{page.level} {page.degraded}".strip() for page in pages)
        self._report.rows.append(
            {
                "fault": fault, "pages": len(pages), "named errors": self._times - len(pages),
                "late": sum(ms > DEADLINE_MS for ms in took),
                "made as": ", ".join(f"{count} {level}" for level, count in levels.most_common()),
                **quantiles(took), "refused": len(refused), "said": refused[0][:60] if refused else "",
            }
        )  # fmt: skip
        if bool(refused) != refuses or after:
            self._report.faults.append(f"{fault}: {len(refused)} appends refused, {len(after)} after it")
        # A named error says it as well: of two pages on a busy machine both may be one.
        if degrades and pages and not any(page.degraded for page in pages):
            self._report.faults.append(f"{fault}: no page says that anything was wrong")

    def _append(self, name: str, now_ms: int) -> list[str]:
        """Twenty events; what was said where they were refused."""
        events = [Event(f"{name}-{n}", now_ms, f"i{n}", Action.LIKE, "u1") for n in range(20)]
        try:
            acks = self.engine.append(events, now_ms)
        except HuozhaoError as error:
            return [str(error).rpartition("/")[2]]
        self.acknowledged |= {event.event_id for event in events}
        return [ack.error for ack in acks if ack.status != "accepted"]

    def _page(self, name: str, took: list[float]) -> list[Feed]:
        """A page, if there was one, and ms until it or an error; that it is short or wrong is counted after."""
        self.pages += 1
        request = FeedRequest(user_id="u2", count=PAGE)
        asked = self._lane.compute(DEADLINE_MS, lambda budget: self.engine.feed(request, NOW_MS, name, budget))
        before, started = self._witness.spent(), time.perf_counter()
        try:
            page = self._runner.run(asked)
        except HuozhaoError:
            return []
        except Exception as error:  # noqa: BLE001  # what it was is told, and the others are asked for
            self._report.faults.append(f"{name}: {error!r}")
            self.failed += 1
            return []
        finally:
            ended = time.perf_counter()
            took.append(1e3 * (ended - started))
            if took[-1] > DEADLINE_MS:
                self.late.append(_Late(name, started, ended, self._witness.since(before)))
        items = tuple(item.item_id for item in page.items)
        still = self.engine.alive(AliveRequest(item_ids=items, user_id="u2"), NOW_MS).item_ids if items else ()
        self.failed += len(items) != PAGE or still != items or not set(items).isdisjoint(TAKEN_DOWN)
        return [page]
