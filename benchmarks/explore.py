"""Exploration: whether lots fall as their propensities say, on slots and on whole pages, and what they cost a page."""

import shutil
import tempfile
from collections import Counter
from pathlib import Path
from statistics import median
from time import perf_counter

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
from seeds.world import Size, World

SIZE = Size(users=150, hosts=30, videos=400, products=120, days=3)
RULE = "[explore]\nrate = 1.0\nslots = [8]\nepsilon = 0.1\n"
PAGE, SLOT = 10, 8
LEAST_EXPECTED = 5.0
"""Newcomers of fewer expected picks are counted as one: below it the statistic is not chi-square."""
LEAST_P = 1e-4


def run(*, quick: bool) -> Report:
    """Draw slots of fresh request ids on a frozen state, 100,000 of them, or 20,000 when quick; then whole pages."""
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
            _pages(report, engine, people[0], now_ms, 300 if quick else 3_000)
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


def _pages(report: Report, engine: Engine, user: str, now_ms: int, pages: int) -> None:
    """Whole pages of one person at one moment: each item's propensity is one number, and lots fall by it."""
    fell: Counter[str] = Counter()
    logged: dict[str, float] = {}
    for number in range(pages):
        page = engine.feed(FeedRequest(user_id=user, count=PAGE), now_ms, f"page-{number}")
        for item in page.items:
            if item.source == "explore":
                fell[item.item_id] += 1
                if logged.setdefault(item.item_id, item.propensity) != item.propensity:
                    report.faults.append(f"{item.item_id} has two propensities on one state")
    statistic, freedom = _chi_square(
        np.array([*fell.values()]), pages * np.array([logged[name] for name in fell]), pages
    )
    p = float(stats.chi2.sf(statistic, freedom))
    row: Row = {"system": "pages", "draws": pages, "newcomers": float(len(fell))}
    report.rows.append(row | {"chi_square": statistic, "freedom": freedom, "p": p, "p50_ms": float("nan")})
    report.ratios["explore.pages_p"] = p
    if p < LEAST_P:
        report.faults.append(f"pages fell otherwise than their propensities say: p = {p:.2g}")


def _chi_square(fell: IntArray, expected: DoubleArray, draws: int) -> tuple[float, int]:
    """The statistic and its degrees of freedom; the rare count as one, with those that never fell and are not given."""
    common = expected >= LEAST_EXPECTED
    rare = draws - float(expected[common].sum())
    statistic = float(((fell[common] - expected[common]) ** 2 / expected[common]).sum())
    if rare < LEAST_EXPECTED:
        return statistic, int(common.sum()) - 1
    return statistic + float((draws - fell[common].sum() - rare) ** 2) / rare, int(common.sum())
