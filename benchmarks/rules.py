"""Every hard rule on simulated pages, while everything that may change changes, between pages and within them.

Rooms start, fall silent and end, carts and pins change, stock runs out, sellers are taken down, people hide, goods are
sent back, boosts run dry, and dated rules come and go, asked at their very millisecond. Each page is judged by
``benchmarks.oracle``, which knows records and policies only.
"""

import datetime as dt
import multiprocessing
import shutil
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from string import Template

import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.homes import make_home
from benchmarks.oracle import COUNTED, Oracle
from benchmarks.report import Report, quantiles, say
from benchmarks.rules_world import TWINS, Interrupted, World
from features.logs.live import HomeLog
from features.logs.log import DAY_MS, from_batch
from features.records import Control
from features.state import FeatureState
from ranking import Bundle, Engine, FeedRequest
from ranking.api import Feed
from ranking.policy import Policy, parse
from ranking.types import Ranker
from seeds.world import Size
from seeds.world import World as Seeded

WORLDS = 2
"""They begin alike, and each goes its own way in a process of its own."""
SIZE = Size(users=60, hosts=60, videos=800, products=400, days=2)
"""Where they begin: many items, and of people and heads no more than those who ask and a bundle need."""
HEADS = ("complete", "like")
SAY_S = 20.0
PAGES, QUICK = 100_000, 5_000
STEP_MS = 20_000
"""Between two pages, on average: 5,000 pages are a day and more."""
SURFACES = ("feed", "plaza", "mall")
POLICY = Path(__file__).with_name("rules.toml")
JUDGED = (*(str(one) for one in COUNTED), "hide", "room_start", "room_pulse", "room_end", "room_pin")


def run(*, quick: bool) -> Report:
    """100,000 pages (5,000 when quick) of three surfaces, forty people and strangers, in two worlds."""
    report = Report("rules")
    pages = QUICK if quick else PAGES
    wrong: list[str] = []
    took: list[float] = []
    counted: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        home = make_home(Path(folder) / "home", Seeded.create(0, SIZE), heads=HEADS)
        lived = partial(_lived, home, pages // WORLDS)
        with ProcessPoolExecutor(WORLDS, multiprocessing.get_context("spawn")) as pool:
            for of_world in pool.map(lived, range(WORLDS)):
                wrong += of_world[0]
                took += of_world[1]
                counted.update(of_world[2])
    of_dead = sum("a dead room" in one for one in wrong)
    report.rows.append({"system": "huozhao", "worlds": WORLDS, "pages": pages, **quantiles(took)})
    # One below the other: what never happened was not tried.
    report.rows += [{"what happened": what, "times": times} for what, times in sorted(counted.items())]
    report.ratios |= {"rules.violations": float(len(wrong)), "rules.dead_rooms": float(of_dead)}
    report.faults += wrong[:10]
    return report


def _lived(home: Path, pages: int, seed: int) -> tuple[list[str], list[float], dict[str, int]]:
    """What was judged of a world that begins as a home does."""
    return judged(shutil.copytree(home, home.with_name(f"world-{seed}")), pages, seed=seed)


def judged(home: Path, pages: int, until: str = "", seed: int = 0) -> tuple[list[str], list[float], dict[str, int]]:
    """Ask a home for so many pages; what was wrong with them, their milliseconds, and what was seen on the way.

    With ``until`` no further than to a page of which that is wrong.
    """
    said_at = time.perf_counter()
    rankers: list[Interrupted] = []

    def interrupted(bundle: Bundle, _: FeatureState) -> Ranker:
        rankers.append(Interrupted(bundle))
        return rankers[-1]

    oracle = _known(home)
    # Nothing is killed here: an fsync for each of the world's changes would take time, and find nothing.
    with Engine.open(home, ranker=interrupted, durability="relaxed") as engine:
        start_ms = engine.status(0).received_ms + 1
        world = World(engine, oracle, start_ms, seed)
        policy = _policy(world, start_ms, pages)
        engine.go_by(policy, lambda: start_ms)
        rankers[-1].world = world
        seen = Seen(world, policy, rankers[-1])
        world.happen([Control(twin, start_ms, "personalisation_off") for twin in TWINS])
        boundaries = sorted({ms for rule in policy.rules for ms in _moments(rule.begins, rule.until)})
        for number in range(pages):
            before = world.now_ms
            world.now_ms += 1 + world.random.randrange(2 * STEP_MS)
            if boundaries and world.now_ms >= boundaries[0]:
                # The last millisecond before a rule, then its first.
                world.now_ms = boundaries[0] - 1 if before < boundaries[0] - 1 else boundaries.pop(0)
                for surface in SURFACES:
                    seen.ask(f"{number}-{surface}", surface)
            if number % 4 == 0:
                world.happen(world.churn())
            if number % 5 == 3:
                rankers[-1].waiting = world.storm()
            seen.ask(str(number), world.random.choice(["feed", *SURFACES]))
            if number % 20 == 10:
                seen.ask_twins(number)
            if time.perf_counter() >= said_at + SAY_S:
                said_at = time.perf_counter()
                say(f"world {seed}: {number + 1:,} of {pages:,} pages, {len(seen.wrong)} wrong")
            if until and any(until in one for one in seen.wrong):
                break
        return seen.wrong, seen.took, seen.counted | {"records": world.records}


class Seen:
    """Pages that were asked for, and what was wrong with them."""

    def __init__(self, world: World, policy: Policy, ranker: Interrupted) -> None:
        self.world = world
        self.ranker = ranker
        self.policy = policy
        self.wrong: list[str] = []
        self.took: list[float] = []
        self._dropped: Counter[str] = Counter()
        self._slots = self._boosted = self._drawn = self._gave_way = self._twins = 0

    @property
    def counted(self) -> dict[str, int]:
        """What was seen on the way."""
        dropped = {f"dropped: {name}": count for name, count in sorted(self._dropped.items())}
        return {
            "slots": self._slots,
            "boosted": self._boosted,
            "drawn": self._drawn,
            "pages that gave way": self._gave_way,
            "twins": self._twins,
        } | dropped

    def ask(self, number: str, surface: str) -> None:
        """Ask for a page and judge it."""
        world, oracle = self.world, self.world.oracle
        user = world.random.choice(["", "stranger", *(f"u{n}" for n in range(40))])
        request = FeedRequest(user_id=user, surface=surface, count=world.random.choice([5, 10, 20]))
        offset = world.engine.generation.bundle.feature_set.utc_offset_ms
        sold_before = oracle.selling.get((user, (world.now_ms + offset) // DAY_MS), 0) if user else 0
        hidden = set(oracle.hidden.get(user, ()))
        began = time.perf_counter()
        feed = world.engine.feed(request, world.now_ms, f"rule-{number}")
        self.took.append(1e3 * (time.perf_counter() - began))
        again = oracle.memory.again(self.policy, feed)
        self._slots += len(feed.items)
        self._boosted += sum(item.boost_spent > 0 for item in feed.items)
        self._drawn += sum(item.propensity < 1 for item in feed.items)
        self._dropped.update(feed.dropped)
        self._gave_way += bool(feed.relaxed)
        found = [*self._items(feed, hidden), *oracle.broken_bounds(self.policy, feed, sold_before)]
        found += again
        if "gone" not in feed.dropped:
            found += oracle.out_of_order(self.policy, feed, self.ranker.candidates, sold_before)
        found += oracle.serve(self.policy, feed, offset, self.ranker.own)
        world.send(feed)
        if len({item.item_id for item in feed.items}) < len(feed.items) or len(feed.items) > request.count:
            found.append("is too long, or names an item twice")
        self.wrong += [f"page {number} for {user!r} on {surface}: {one}" for one in found]

    def ask_twins(self, number: int) -> None:
        """Ask for a page for two people of whom nothing may be known: it must be one page."""
        world, self.ranker.waiting = self.world, []
        request_id, surface = f"twins-{number}", world.random.choice(["plaza", "mall"])
        pages = [
            world.engine.feed(FeedRequest(user_id=twin, surface=surface), world.now_ms, request_id) for twin in TWINS
        ]
        for feed in pages:
            world.oracle.serve(self.policy, feed, 0, self.ranker.own)
        spent, items = ([sum(one.boost_spent for one in feed.items) for feed in pages], [feed.items for feed in pages])
        self._twins += bool(items[0])
        # A budget may end between the two.
        if spent[0] == spent[1] and items[0] != items[1]:
            self.wrong.append(f"page {number} on {surface}: personalisation is off, and two people get two pages")

    def _items(self, feed: Feed, hidden: set[tuple[str, str]]) -> list[str]:
        found = []
        for item in feed.items:
            if why := self.world.oracle.illegal(self.policy, item.item_id, feed.surface, feed.now_ms):
                found.append(f"{item.item_id} is {why}")
            if hidden & {("item", item.item_id), ("author", item.author_id), ("category", item.category)}:
                found.append(f"{item.item_id} was hidden")
            if item.sells != self.world.oracle.sells(self.world.oracle.items[item.item_id]):
                found.append(f"{item.item_id} does not say whether it sells")
            if abs(sum(item.terms.values()) - item.value) > 1e-9 * max(1.0, abs(item.value)):
                found.append(f"the terms of {item.item_id} do not sum to its value")
        return found


def _known(home: Path) -> Oracle:
    """An oracle that has read a home's log."""
    oracle = Oracle()
    with HomeLog(home / "log", writer=False) as log:
        for batch in log.read():
            of_catalog = pc.is_in(batch["type"], value_set=pa.array(["item", "control"]))
            wanted = pc.or_(of_catalog, pc.is_in(batch["action"], value_set=pa.array(JUDGED)))
            oracle.follow(stored.record for stored in from_batch(batch.filter(wanted)))
    return oracle


def _policy(world: World, start_ms: int, pages: int) -> Policy:
    items = [world.oracle.items[name] for name in world.products]
    merchants = sorted({item.merchant_id for item in items})
    categories = sorted({item.category for item in items})
    moments = {"quarter": 0.25, "half": 0.5, "most": 0.7, "late": 0.85}
    dates = {name: _iso(start_ms + int(share * pages * STEP_MS)) for name, share in moments.items()}
    return parse(
        Template(POLICY.read_text()).substitute(
            merchants=merchants[:5], categories=categories[:2], budget=pages // 2, **dates
        )
    )


def _iso(ms: int) -> str:
    return dt.datetime.fromtimestamp(ms / 1000, dt.UTC).isoformat(timespec="milliseconds")


def _moments(*moments: dt.datetime | None) -> list[int]:
    return [round(moment.timestamp() * 1000) for moment in moments if moment]
