"""Every hard rule on simulated pages, while everything that may change changes, between pages and within them.

Rooms start, fall silent and end, carts and pins change, stock runs out, sellers are taken down, people hide, goods are
sent back, boosts run dry, and dated rules come and go, asked at their very millisecond. Each page is judged by
``benchmarks.oracle``, which knows records and policies only.
"""

import datetime as dt
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.homes import small_home
from benchmarks.oracle import SOLD, Oracle
from benchmarks.report import Report, quantiles
from features.live import HomeLog
from features.log import DAY_MS, from_batch
from features.records import Action, Control, Event, Item, Kind, Record
from features.state import FeatureState
from features.types import DoubleArray
from ranking import Bundle, Engine, FeedRequest
from ranking.policy import Policy, parse
from ranking.ranker import BundleRanker
from ranking.types import Batch, Feed, Ranker

PAGES, QUICK = 100_000, 5_000
STEP_MS = 20_000
"""Between two pages, on average: 5,000 pages are a day and more."""
ROOMS = 40
"""So many rooms are on air, more or less."""
JUDGED = (*(str(one) for one in SOLD), "hide", "room_start", "room_pulse", "room_end", "room_pin")

POLICY = """
room_ttl = "8m"
candidates = 80
[surfaces.feed]
bounds = [
    {{ of = "category", at_most = 4, window = 8 }},
    {{ of = "merchant", at_most = 2, window = 6 }},
    {{ of = "brand", at_most = 2, window = 6 }},
    {{ of = "commerce", at_most = 25, window = "day" }},
    {{ of = "head_host", at_most = 2, window = 8 }},
    {{ of = "author", at_most = 1, window = 4 }},
    {{ of = "commerce", at_most = 4, window = 8 }},
]
[surfaces.mall]
bounds = [{{ of = "merchant", at_most = 2, window = 4 }}]
[commerce]
most = 2.0
target = 0.35
[terms]
own_shop = 0.3
third_party = -0.2
merchant = 0.2
[explore]
rate = 0.3
slots = [3, 7]
[fees]
weight = -0.5
table = [{{ shop = "third_party", fee = 0.2 }}, {{ shop = "own", fee = 0.05, from = {half} }}]
[[rules]]
name = "task"
kinds = ["room"]
shop = "third_party"
unless = "task"
from = {quarter}
until = {half}
[[rules]]
name = "carts"
kinds = ["room"]
shop = "third_party"
from = {half}
until = {most}
[[rules]]
name = "mall"
kinds = ["product"]
shop = "third_party"
surfaces = ["mall"]
from = {most}
until = {late}
[[rules]]
name = "links"
kinds = ["video", "product"]
shop = "own"
unless = "task"
from = {late}
[[quality]]
rate = "refund"
of = "item"
prior = 3.0
demote_from = 0.2
block_from = 0.4
[[quality]]
rate = "after_sales"
of = "merchant"
demote_from = 0.2
block_from = 0.5
[[boosts]]
name = "whole"
categories = {categories}
term = 1.0
budget = {budget}
floor = 0.3
[[boosts]]
name = "short"
kinds = ["product"]
merchants = {merchants}
term = 2.0
budget = 1000000
from = {quarter}
until = {half}
"""


class Interrupted(BundleRanker):
    """A bundle's ranker that lets the world go on in the middle of a request."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle)
        self.waiting: list[Record] = []
        self.world: World | None = None

    def predict(self, batch: Batch, trees: int | None = None) -> DoubleArray:
        """As the bundle says, once what waits has happened."""
        if self.waiting and self.world:
            records, self.waiting = self.waiting, []
            self.world.happen(records)
        return super().predict(batch, trees)


class World:
    """An engine, its oracle, and what goes on around them."""

    def __init__(self, engine: Engine, oracle: Oracle, now_ms: int) -> None:
        self.engine = engine
        self.oracle = oracle
        self.random = Random(0)  # noqa: S311 - a world, not a secret
        self.now_ms = now_ms
        self.on_air: list[str] = []
        self.count = 0
        self.records = 0
        self.products = [item.item_id for item in oracle.items.values() if item.kind == Kind.PRODUCT]

    def happen(self, records: list[Record]) -> None:
        """Let it happen: the log takes it, and pages that were served before are counted."""
        for ack in self.engine.append(records, self.now_ms):
            if ack.status != "accepted":
                raise AssertionError(ack.error or ack.status)
        self.oracle.flush()
        self.oracle.follow(records)
        self.records += len(records)

    def churn(self) -> list[Record]:
        """What changes in a moment."""
        chance = self.random.random
        records: list[Record] = []
        while len(self.on_air) < ROOMS:
            records += self._start()
        if chance() < 0.2:
            # Not all: some fall silent, and die of it.
            for name in self.random.sample(self.on_air, len(self.on_air) * 3 // 4):
                records.append(self._event(name, Action.ROOM_PULSE, value=9))
        if chance() < 0.3:
            records.append(self._event(self._off_air(), Action.ROOM_END))
        if chance() < 0.3:
            room = self.random.choice(self.on_air)
            records.append(self._event(self._product(), Action.ROOM_PIN, via=room))
        if chance() < 0.3 and (told := [name for name in self.on_air if name in self.oracle.items]):
            records.append(self._changed(self.oracle.items[self.random.choice(told)]))
        for _ in range(self.random.randrange(4)):
            records.append(self._changed(self.oracle.items[self._product()]))
        for _ in range(self.random.randrange(8)):
            records += self._sale()
        if chance() < 0.2:
            records.append(self._hide())
        return records

    def storm(self) -> list[Record]:
        """Much that changes at once, so that pages in the making lose something."""
        ended = [self._event(self._off_air(), Action.ROOM_END) for _ in range(len(self.on_air) // 4)]
        changed = [self._changed(self.oracle.items[name]) for name in self.random.sample(self.products, 20)]
        return [*ended, *changed]

    def _start(self) -> list[Record]:
        name = f"rule-room-{self.count}"
        self.count += 1
        self.on_air.append(name)
        cart = tuple(dict.fromkeys(self._product() for _ in range(self.random.randrange(3))))
        host = f"h{self.random.randrange(60)}"
        merchant = self.random.choice(["", f"m{self.random.randrange(60)}"])
        item = Item(
            name, self.now_ms, Kind.ROOM, author_id=host, merchant_id=merchant, category=self._category(),
            room_type="merchant" if merchant else "kol", products=cart,
        )  # fmt: skip
        return [item, self._event(name, Action.ROOM_START)]

    def _off_air(self) -> str:
        return self.on_air.pop(self.random.randrange(len(self.on_air)))

    def _product(self) -> str:
        return self.random.choice(self.products)

    def _category(self) -> str:
        return self.oracle.items[self._product()].category

    def _changed(self, item: Item) -> Item:
        changes: dict[str, object] = {"ts_ms": self.now_ms}
        if item.kind == Kind.ROOM:
            changes |= {"products": tuple({self._product() for _ in range(self.random.randrange(3))})}
        else:
            changes |= {
                "stock": self.random.choice([0, 5, -1]),
                "shop": self.random.choice(["own", "third_party"]),
                "listed": self.random.random() > 0.1,
                "attributes": {"task": 1.0} if self.random.random() < 0.5 else {},
            }
        return msgspec.structs.replace(item, **changes)

    def _sale(self) -> list[Record]:
        # Few are sold often, and a fifth of them comes back nearly every time.
        number = int(len(self.products) * self.random.random() ** 3)
        user, via = f"u{self.random.randrange(700)}", self.random.choice(["", *self.on_air])
        back = number % 5 == 0 and self.random.random() < 0.9
        actions = [Action.ORDER, *([self.random.choice([*SOLD[1:], Action.REFUND])] if back else [])]
        return [self._event(self.products[number], action, user=user, via=via) for action in actions]

    def _hide(self) -> Record:
        user = f"u{self.random.randrange(40)}"
        kind = self.random.choice(["item", "author", "category"])
        item = self.oracle.items[self._product()]
        host = f"h{self.random.randrange(60)}"
        target = {"item": item.item_id, "author": host, "category": item.category}[kind]
        if kind == "category" and self.random.random() < 0.9:
            return self._event(item.item_id, Action.HIDE, user=user)
        return msgspec.convert(
            {"type": "control", "user_id": user, "ts_ms": self.now_ms, "command": f"hide_{kind}", "target": target},
            Control,
        )

    def _event(self, item: str, action: Action, *, user: str = "", via: str = "", value: int = 0) -> Event:
        self.count += 1
        return Event(f"rule-{self.count}", self.now_ms, item, action, user, via, value)


def run(*, quick: bool) -> Report:
    """100,000 pages (5,000 when quick) of three surfaces, forty people and strangers."""
    report = Report("rules")
    pages = QUICK if quick else PAGES
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        shutil.copytree(small_home(), home)
        wrong, took, counted = judged(home, pages)
    of_dead = sum("a dead room" in one for one in wrong)
    report.rows.append({"system": "huozhao", "pages": pages, **counted, **quantiles(took)})
    report.ratios |= {"rules.violations": float(len(wrong)), "rules.dead_rooms": float(of_dead)}
    report.faults += wrong[:10]
    return report


def judged(home: Path, pages: int) -> tuple[list[str], list[float], dict[str, int]]:
    """Ask a home for so many pages; what was wrong with them, their milliseconds, and what was seen on the way."""
    rankers: list[Interrupted] = []

    def interrupted(bundle: Bundle, _: FeatureState) -> Ranker:
        rankers.append(Interrupted(bundle))
        return rankers[-1]

    oracle = _known(home)
    with Engine.open(home, ranker=interrupted) as engine:
        start_ms = engine.status(0).received_ms + 1
        world = World(engine, oracle, start_ms)
        policy = _policy(world, start_ms, pages)
        engine.go_by(policy, lambda: start_ms)
        rankers[-1].world = world
        seen = Seen(world, policy)
        boundaries = sorted({ms for rule in policy.rules for ms in _moments(rule.begins, rule.until)})
        for number in range(pages):
            before = world.now_ms
            world.now_ms += 1 + world.random.randrange(2 * STEP_MS)
            if boundaries and world.now_ms >= boundaries[0]:
                # The last millisecond before a rule, then its first.
                world.now_ms = boundaries[0] - 1 if before < boundaries[0] - 1 else boundaries.pop(0)
            if number % 4 == 0:
                world.happen(world.churn())
            if number % 5 == 3:
                rankers[-1].waiting = world.storm()
            seen.ask(number)
        return seen.wrong, seen.took, seen.counted | {"records": world.records}


class Seen:
    """Pages that were asked for, and what was wrong with them."""

    def __init__(self, world: World, policy: Policy) -> None:
        self.world = world
        self.policy = policy
        self.wrong: list[str] = []
        self.took: list[float] = []
        self._dropped: Counter[str] = Counter()
        self._slots = self._boosted = self._drawn = 0

    @property
    def counted(self) -> dict[str, int]:
        """What was seen on the way: a rule that never held was not tried."""
        dropped = {name.replace(" ", "_"): count for name, count in sorted(self._dropped.items())}
        return {"slots": self._slots, "boosted": self._boosted, "drawn": self._drawn} | dropped

    def ask(self, number: int) -> None:
        """Ask for a page and judge it."""
        world, oracle = self.world, self.world.oracle
        user = world.random.choice(["", "stranger", *(f"u{n}" for n in range(40))])
        surface = world.random.choice(["feed", "feed", "plaza", "mall"])
        request = FeedRequest(user_id=user, surface=surface, count=world.random.choice([5, 10, 20]))
        offset = world.engine.generation.bundle.feature_set.utc_offset_ms
        sold_before = oracle.selling.get((user, (world.now_ms + offset) // DAY_MS), 0) if user else 0
        hidden = set(oracle.hidden.get(user, ()))
        began = time.perf_counter()
        feed = world.engine.feed(request, world.now_ms, f"rule-{number}")
        self.took.append(1e3 * (time.perf_counter() - began))
        self._slots += len(feed.items)
        self._boosted += sum(item.boost_spent > 0 for item in feed.items)
        self._drawn += sum(item.propensity < 1 for item in feed.items)
        self._dropped.update(feed.dropped)
        found = [*self._items(feed, hidden), *oracle.broken_bounds(self.policy, feed, sold_before)]
        found += oracle.serve(self.policy, feed, offset)
        if len({item.item_id for item in feed.items}) < len(feed.items) or len(feed.items) > request.count:
            found.append("is too long, or names an item twice")
        self.wrong += [f"page {number} for {user!r} on {surface}: {one}" for one in found]

    def _items(self, feed: Feed, hidden: set[tuple[str, str]]) -> list[str]:
        found = []
        for item in feed.items:
            if why := self.world.oracle.illegal(self.policy, item.item_id, feed.surface, feed.now_ms):
                found.append(f"{item.item_id} is {why}")
            if hidden & {("item", item.item_id), ("author", item.author_id), ("category", item.category)}:
                found.append(f"{item.item_id} was hidden")
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
    return parse(POLICY.format(merchants=merchants[:5], categories=categories[:2], budget=pages // 2, **dates))


def _iso(ms: int) -> str:
    return dt.datetime.fromtimestamp(ms / 1000, dt.UTC).isoformat(timespec="milliseconds")


def _moments(*moments: dt.datetime | None) -> list[int]:
    return [round(moment.timestamp() * 1000) for moment in moments if moment]
