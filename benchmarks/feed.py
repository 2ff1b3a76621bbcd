"""A whole request in process beside the naive stack: found, read, scored by five heads, spaced, a page of fifty.

Both are asked in turn, twice over. Page by page, as ``feed.vs_naive`` has it, each page of ours finds the caches
emptied by the hundred megabytes that the naive stack read for its page in between; that is the bar, and it is the
harder one. In blocks, as ``feed.vs_naive_in_blocks`` has it, one stack makes ``BLOCK`` pages in a row before the other
does: nearer to how a server lives, which makes page after page. The first page of a block counts like any other.
"""

import itertools
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.churn import tail
from benchmarks.holdings import memory_rows
from benchmarks.light import light_rows, way_rows
from benchmarks.market import NOW_MS, Market, make_market
from benchmarks.mutex import Waits, Writer, churn_rows
from benchmarks.naive import Naive
from benchmarks.people import PAGE, asking, people_of, settle
from benchmarks.report import Report, Row, in_blocks, interleaved, quantiles, resident_gib
from benchmarks.served import served
from benchmarks.stages import stage_rows
from benchmarks.swap import swap_rows
from features.state import FeatureState
from ranking import Engine, FeedRequest
from ranking.api import Feed, RankRequest
from ranking.bundles.bundle import load
from ranking.bundles.pointer import current
from ranking.policy import load as load_policy

CLOSE = 1e-9
BLOCK = 25
"""Pages of one stack in a row."""
WIDE = 16
"""People who are asked for with 500 candidates and with 5,000."""
ACTIVE = 100_000
"""People who do something beside the feeds."""


class Plan(NamedTuple):
    """A market; feeds beside the naive stack, rounds of stages (the first warms up), feeds under churn, HTTP pages."""

    market: Market
    feeds: int
    rounds: int
    churned: int
    pages: int


FULL = Plan(Market(100_000, 1_000_000, 1_000_000, 4_000_000, 80_000, 300, 63), 500, 8, 2_000, 3_000)
QUICK = Plan(Market(2_000, 20_000, 4_000, 100_000, 4_000, 40, 31), 60, 2, 200, 400)


def run(*, quick: bool) -> Report:
    """100,000 rooms and 1M products, 5 heads of 300 trees; 2,000 and 20,000, of 40 trees, when quick."""
    return measure(QUICK if quick else FULL)


def measure(plan: Plan) -> Report:
    """Feeds beside the naive stack's, stage by stage, beside a writer, and over HTTP while the world changes."""
    report, market = Report("feed"), plan.market
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        make_market(home, market)
        before = resident_gib()
        started = time.perf_counter()
        with Engine.open(home) as engine:
            generation = engine.generation
            state = generation.state
            people = people_of(state)
            ours = asking(engine, [state.users.name(user) for user in people])
            for _ in people:
                ours()
            settle(generation)
            opened_s, report.ratios["feed.memory_gib"] = time.perf_counter() - started, resident_gib()
            (memory, *parts), sums = memory_rows(generation, before)
            report.rows += [memory | {"opened_s": opened_s}, *parts]
            report.ratios |= sums
            took, theirs, in_a_row = _beside_naive(report, home, engine, people, plan.feeds)
            report.rows += stage_rows(generation, people, PAGE, plan.rounds)
            report.rows += light_rows(generation, people[: plan.rounds])
            ways, report.ratios["feed.light_5000_over_500"] = way_rows(generation, people[:WIDE])
            report.rows += ways
            report.rows += _churn(engine, ours, plan.churned)
        swapped, ratios = swap_rows(home)
        report.rows += swapped
        report.ratios |= ratios
        with served(home, NOW_MS) as server:
            names, rooms = [state.users.name(user) for user in people], [f"i{n}" for n in range(market.rooms)]
            churned = tail(server.address, NOW_MS, names, rooms, plan.pages)
    heads = (
        f"{market.rooms} rooms + {market.products} products, 5 heads x {market.trees} trees x {market.leaves} leaves"
    )
    systems = (("huozhao", took), ("naive", theirs))
    for system, times in (*systems, *zip(("huozhao, in blocks", "naive, in blocks"), in_a_row, strict=True)):
        per_second = 1e3 / float(np.mean(times))
        report.rows.append({"system": system, "size": heads, "feeds_per_second": per_second, **quantiles(times)})
    report.ratios["feed.vs_naive"] = float(np.median(theirs) / np.median(took))
    report.ratios["feed.vs_naive_in_blocks"] = float(np.median(in_a_row[1]) / np.median(in_a_row[0]))
    report.ratios["feed.p50_ms"] = float(np.median(took))
    report.ratios["feed.feeds_per_second_per_core"] = 1e3 / float(np.mean(took))
    report.rows += churned.rows
    report.ratios |= churned.ratios
    report.faults += churned.faults
    return report


def _beside_naive(
    report: Report, home: Path, engine: Engine, people: Sequence[int], times: int
) -> tuple[list[float], list[float], list[list[float]]]:
    """Milliseconds of both systems' feeds, page by page and in blocks; the naive one is gone when this returns."""
    generation = engine.generation
    bundle, policy, state = load(current(home / "bundles")), load_policy(home / "policy.toml"), generation.state
    naive = Naive(bundle, policy, generation.reader, state, people, NOW_MS)
    turns = itertools.cycle(people)
    ours = asking(engine, [state.users.name(user) for user in people])
    both = [ours, lambda: naive.feed(next(turns), PAGE)]
    took, theirs = interleaved(both, times)
    in_a_row = in_blocks(both, times, BLOCK)
    _judge(report, engine, naive, people, state)
    return took, theirs, in_a_row


def _churn(engine: Engine, ask: Callable[[], Feed], times: int) -> list[Row]:
    """Feeds beside a writer, with a mutex that keeps who waits."""
    engine.mutex = waits = Waits()
    state = engine.generation.state
    people = state.users.names[1 : 1 + ACTIVE]
    return churn_rows(ask, Writer(engine, people, state.items.names[1:], NOW_MS), waits, times)


def _judge(report: Report, engine: Engine, naive: Naive, people: Sequence[int], state: FeatureState) -> None:
    """Same candidates, same scores: what the naive stack found, scored by both; and how alike the pages are."""
    worst, far, scored, shared, gains = 0.0, 0, 0, 0, []
    for user in people[:16]:
        name, page = state.users.name(user), naive.feed(user, PAGE)
        ids = [naive.names[row] for row in page.candidates.tolist()]
        value = {item.item_id: item.value for item in _ranked(engine, name, ids).items}
        apart = np.abs(np.array([value.get(one, np.inf) for one in ids]) - page.values)
        worst, far, scored = max(worst, float(apart.max())), far + int((apart > CLOSE).sum()), scored + len(ids)
        feed = engine.feed(FeedRequest(user_id=name, count=PAGE), NOW_MS, f"judge-{user}")
        shared += len({item.item_id for item in feed.items} & set(page.item_ids))
        gains.append((sum(item.value for item in feed.items), sum(page.scores)))
    ours, theirs = np.sum(gains, axis=0)
    report.rows.append(
        {
            "system": "both",
            "candidates": scored / len(gains),
            "max_difference": worst,
            "share_apart": far / scored,
            "page_shared": shared / (len(gains) * PAGE),
            "page_value_ratio": float(ours / theirs),
        }
    )
    if far > 0.001 * scored:
        report.faults.append(f"{far} of {scored} scores differ from the naive stack's, by up to {worst}")


def _ranked(engine: Engine, user: str, item_ids: Sequence[str]) -> Feed:
    return engine.rank(RankRequest(user_id=user, item_ids=tuple(item_ids)), NOW_MS, f"rank-{user}")
