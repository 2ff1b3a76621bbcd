"""Exploration: whether lots fall as their propensities say, alone and slot by slot on pages, and what they cost."""

import shutil
import tempfile
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import NamedTuple

import numpy as np
from scipy import stats

from benchmarks.homes import make_home
from benchmarks.report import Report, Row
from features.logs.log import DAY_MS
from features.records import Context
from features.state import NO_ROWS
from features.types import DoubleArray, IntArray
from ranking import Engine, FeedRequest
from ranking.mixing.exploration import Lottery
from ranking.request.generation import Generation
from ranking.request.ladder import Budget
from ranking.request.making import read
from ranking.request.pages import compose
from seeds.world import Size, World

SIZE = Size(users=150, hosts=30, videos=400, products=120, days=3)
SLOTS = (3, 8)
RULE = f"[explore]\nrate = 1.0\nslots = {[*SLOTS]}\nepsilon = 0.1\n"
PAGE, SLOT = 10, 8
PERSONS, ASKED = 4, 50
"""People whose pages are drawn, and how many of each are asked of the engine as well."""
LEAST_EXPECTED = 5.0
"""Newcomers of fewer expected picks are counted as one: below it the statistic is not chi-square."""
LEAST_P = 1e-4


def run(*, quick: bool) -> Report:
    """Draw slots of fresh request ids on a frozen state, 100,000 (20,000 when quick), and those of as many pages."""
    report = Report("explore")
    world = World.create(0, SIZE)
    now_ms = world.end_ms - DAY_MS
    with tempfile.TemporaryDirectory() as folder:
        home = make_home(Path(folder) / "home", world, now_ms)
        shutil.rmtree(home / "state", ignore_errors=True)
        (home / "policy.toml").write_text(RULE, "utf-8")
        with Engine.open(home, writer=False) as engine:
            people = [f"u{number}" for number in range(20)]
            _slots(report, engine.generation, people, now_ms, 20_000 if quick else 100_000)
            _pages(report, engine, people[:PERSONS], now_ms, 20_000 if quick else 100_000)
    return report


def _slots(report: Report, generation: Generation, people: list[str], now_ms: int, draws: int) -> None:
    """Slots alone, a frozen lottery for each person; and the time of a lottery with its pick."""
    statistic, freedom, newcomers, took = 0.0, 0, 0, []
    each = draws // len(people)
    for user in people:
        lottery, ms = _held(generation, user, now_ms)
        took += ms
        q = lottery.chances(np.ones(len(lottery.rows), np.bool_))
        fell = np.bincount([lottery.pick(q, f"{user}-{n}", SLOT) for n in range(each)], minlength=len(q))
        more = _chi_square(fell, each * q, each)
        statistic, freedom, newcomers = statistic + more[0], freedom + more[1], newcomers + len(q)
    p = float(stats.chi2.sf(statistic, freedom))
    row: Row = {"system": "slots", "draws": each * len(people), "newcomers": newcomers / len(people)}
    report.rows.append(row | {"chi_square": statistic, "freedom": freedom, "p": p, "p50_ms": median(took)})
    report.ratios |= {"explore.slots_p": p, "explore.page_ms": median(took)}
    if p < LEAST_P:
        report.faults.append(f"slots fell otherwise than their propensities say: p = {p:.2g}")


def _held(generation: Generation, user: str, now_ms: int) -> tuple[Lottery, list[float]]:
    """A person's lottery at a moment, and how long it took to hold and to pick from, again and again."""
    query = generation.query("frozen", user, PAGE, Context("feed", "", "", 0), now_ms)
    batch = generation.assemble(query, generation.legal(query, generation.retrieve(query))[0])
    took: list[float] = []
    lottery = Lottery(NO_ROWS, np.zeros((1, 0)), 0.0)
    for number in range(30):
        begun = perf_counter()
        lottery = generation.newcomers(query, batch) or lottery
        q = lottery.chances(np.ones(len(lottery.rows), np.bool_))
        lottery.pick(q, f"timed-{number}", SLOT)
        took.append(1000 * (perf_counter() - begun))
    return lottery, took[5:]


def _pages(report: Report, engine: Engine, people: list[str], now_ms: int, pages: int) -> None:
    """Pages of some people at one moment, slot by slot; some of them are asked of the engine as well."""
    lots: list[Lot] = []
    for user in people:
        numbers = range(pages // len(people))
        lots += lots_of(engine.generation, user, now_ms, [f"{user}-page-{number}" for number in numbers])
        for number in numbers[:ASKED]:
            asked = engine.feed(FeedRequest(user_id=user, count=PAGE), now_ms, f"{user}-page-{number}")
            drawn = [(item.item_id, item.propensity) for item in asked.items if item.source == "explore"]
            if drawn != [(one.item, one.propensity) for one in lots if one.page == f"{user}-page-{number}"]:
                report.faults.append(f"{user}-page-{number} has other lots than were composed")
    for slot in SLOTS:
        statistic, freedom = of_slot([lot for lot in lots if lot.slot == slot])
        p = float(stats.chi2.sf(statistic, freedom))
        row: Row = {"system": f"pages, slot {slot}", "draws": pages, "newcomers": _newcomers(lots, slot)}
        report.rows.append(row | {"chi_square": statistic, "freedom": freedom, "p": p, "p50_ms": float("nan")})
        report.ratios["explore.pages_p"] = min(p, report.ratios.get("explore.pages_p", 1.0))
        if p < LEAST_P:
            report.faults.append(f"slot {slot} fell otherwise than its propensities say: p = {p:.2g}")


class Lot(NamedTuple):
    """What a slot of a page drew, with the propensity that is logged; ``before`` are person and earlier draws."""

    page: str
    slot: int
    before: tuple[str, ...]
    item: str
    propensity: float


def lots_of(generation: Generation, user: str, now_ms: int, request_ids: Sequence[str], count: int = PAGE) -> list[Lot]:
    """The lots of many pages of a person on a state that stands still: read and scored once, composed each anew.

    Nothing but the choice from the lottery depends on the request id, so that these are the pages that ``feed`` makes.
    """
    first = generation.query(request_ids[0], user, count, Context("feed"), now_ms)
    found = read(generation, first, Budget(), explain=False)
    scored = generation.score(generation.glance(found.batch, found.lottery)[0])
    name, lots = generation.state.items.name, []
    for request_id in request_ids:
        asked = replace(scored, batch=replace(scored.batch, query=replace(first, request_id=request_id)))
        slate, _ = compose(generation, asked, found.lottery)
        before: tuple[str, ...] = (user,)
        for slot, at in enumerate(slate.page.tolist()):
            if at in slate.drawn:
                lots.append(Lot(request_id, slot, before, name(int(scored.batch.rows[at])), slate.drawn[at]))
                before = (*before, lots[-1].item)
    return lots


def of_slot(lots: Sequence[Lot]) -> tuple[float, int]:
    """The statistic of a slot and its degrees of freedom, over all that may have come before it.

    Raises
    ------
    AssertionError
        If an item has two propensities after the same draws.
    """
    groups: defaultdict[tuple[str, ...], Counter[tuple[str, float]]] = defaultdict(Counter)
    for lot in lots:
        groups[lot.before][lot.item, lot.propensity] += 1
    statistic, freedom = 0.0, 0
    for fell in groups.values():
        if len({item for item, _ in fell}) < len(fell):
            raise AssertionError("an item has two propensities on one state after the same draws")
        pages = sum(fell.values())
        expected = pages * np.array([propensity for _, propensity in fell])
        more = _chi_square(np.array([*fell.values()]), expected, pages)
        statistic, freedom = statistic + more[0], freedom + more[1]
    return statistic, freedom


def _newcomers(lots: Sequence[Lot], slot: int) -> float:
    return float(len({lot.item for lot in lots if lot.slot == slot}))


def _chi_square(fell: IntArray, expected: DoubleArray, draws: int) -> tuple[float, int]:
    """The statistic and its degrees of freedom; the rare count as one, with those that never fell and are not given."""
    common = expected >= LEAST_EXPECTED
    rare = draws - float(expected[common].sum())
    statistic = float(((fell[common] - expected[common]) ** 2 / expected[common]).sum())
    if rare < LEAST_EXPECTED:
        return statistic, int(common.sum()) - 1
    return statistic + float((draws - fell[common].sum() - rare) ** 2) / rare, int(common.sum())
