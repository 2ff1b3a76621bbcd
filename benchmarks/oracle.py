"""What may be shown, in plain Python: the rules of a policy over records, one item and one page at a time.

It shares no line with the engine: it reads records, not state, and counts in loops. It is slow and easy to believe.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from benchmarks.memory import Memory
from features.logs.log import DAY_MS
from features.records import FUTURE_MS, Action, Control, Event, Item, Kind, Record
from ranking.api import Feed, FeedItem
from ranking.policy import Bound, Policy
from ranking.policy.dates import milliseconds
from ranking.policy.quality import Floor
from ranking.policy.rules import Rule

WEEK_MS = 7 * DAY_MS
SOLD = (Action.ORDER, Action.REFUND, Action.COMPLAINT)
COUNTED = (*SOLD, Action.IMPRESSION)
BAD = {"refund": SOLD[1:2], "complaint": SOLD[2:], "after_sales": SOLD[1:]}
CLOSE = 1e-4
"""Rates so near a floor are not judged: the engine counts in float32."""


class Counter:
    """Counts that halve every week, of one thing."""

    def __init__(self) -> None:
        self.counts = dict.fromkeys(COUNTED, 0.0)
        self.at_ms = 0

    def add(self, action: Action, ts_ms: int) -> None:
        """Count once, at a time that may be before the last."""
        if ts_ms >= self.at_ms:
            self.counts = {one: self.read(one, ts_ms) for one in COUNTED}
            self.at_ms = ts_ms
        self.counts[action] += 2.0 ** (-(self.at_ms - ts_ms) / WEEK_MS)

    def read(self, action: Action, now_ms: int) -> float:
        """A count as of a time."""
        return float(self.counts[action] * 2.0 ** (-max(0, now_ms - self.at_ms) / WEEK_MS))


class Oracle:
    """Everything the rules ask about, from records in the order of the log."""

    def __init__(self) -> None:
        self.items: dict[str, Item] = {}
        self.started: set[str] = set()
        self.ended: set[str] = set()
        self.pulse_ms: dict[str, int] = {}
        self.pinned: dict[str, str] = {}
        self.hidden: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
        self.sold: defaultdict[tuple[str, str], Counter] = defaultdict(Counter)
        self.selling: defaultdict[tuple[str, int], int] = defaultdict(int)
        self.memory = Memory()
        self.spent: defaultdict[str, float] = defaultdict(float)

    def follow(self, records: Iterable[Record]) -> None:
        """Take in what came next."""
        for record in records:
            match record:
                case Item():
                    self.items[record.item_id] = record
                case Control(command=command, target=target) if command.startswith("hide_"):
                    self.hidden[record.user_id].add((command.removeprefix("hide_"), target))
                case Control(command=command):
                    self.memory.told(record.user_id, command)
                case Event():
                    self._happened(record)

    def _happened(self, event: Event) -> None:
        name = event.item_id
        match event.action:
            case Action.ROOM_START | Action.ROOM_PULSE:
                if event.action == Action.ROOM_START:
                    self.started.add(name)
                self.pulse_ms[name] = max(self.pulse_ms.get(name, 0), event.ts_ms)
            case Action.ROOM_END:
                self.ended.add(name)
            case Action.ROOM_PIN:
                self.pinned[event.via_item_id] = name
            case Action.HIDE:
                self.hidden[event.user_id].add(("item", name))
            case Action.IMPRESSION:
                self._shown(event)
            case action if action in SOLD:
                item = self.items[name]
                if event.user_id and action == Action.ORDER:
                    self.memory.bought[event.user_id].append((event.ts_ms, name))
                for of, key in (("item", name), ("merchant", item.merchant_id), ("kind", item.kind)):
                    if key:
                        self.sold[of, key].add(action, event.ts_ms)
                if event.via_item_id:
                    self.sold["item", event.via_item_id].add(action, event.ts_ms)

    def _shown(self, event: Event) -> None:
        if event.user_id:
            self.memory.shown[event.user_id].append((event.ts_ms, event.item_id))
        if item := self.items.get(event.item_id):
            via = self.items.get(event.via_item_id)
            self.sold["kind", item.kind].add(Action.IMPRESSION, event.ts_ms)
            for host in {item.author_id, via.author_id if via else ""} - {""}:
                self.sold["author", host].add(Action.IMPRESSION, event.ts_ms)

    # -- one item -----------------------------------------------------------------------------------------------------

    def illegal(self, policy: Policy, name: str, surface: str, now_ms: int) -> str:
        """Why an item may not be shown to anybody on a surface now; empty where it may."""
        item = self.items.get(name)
        if item is None or not item.listed:
            return "unlisted"
        if item.kind not in policy.surface(surface).kinds:
            return "not of the surface's kinds"
        if item.kind == Kind.ROOM and not self.alive(name, policy.room_ttl_ms, now_ms):
            return "a dead room"
        if item.kind == Kind.PRODUCT and item.stock == 0:
            return "out of stock"
        for rule in policy.rules:
            if self.breaks(rule, item, surface, now_ms):
                return f"against rule {rule.name}"
        for floor in policy.quality:
            if floor.block_from and self.rate(floor, item, now_ms) >= floor.block_from + CLOSE:
                return f"blocked by {floor.rate} of its {floor.of}"
        return ""

    def alive(self, name: str, ttl_ms: int, now_ms: int) -> bool:
        """Whether a room is on air."""
        silent_ms = now_ms - self.pulse_ms.get(name, -(1 << 60))
        return name in self.started and name not in self.ended and -FUTURE_MS <= silent_ms <= ttl_ms

    def breaks(self, rule: Rule, item: Item, surface: str, now_ms: int) -> bool:
        """Whether an item breaks a rule on a surface now."""
        if (rule.begins and now_ms < milliseconds(rule.begins)) or (rule.until and now_ms >= milliseconds(rule.until)):
            return False
        if item.kind not in rule.kinds or (rule.surfaces and surface not in rule.surfaces):
            return False
        sells = [item.item_id] if item.kind == Kind.PRODUCT else list(item.products)
        if item.kind == Kind.ROOM and item.item_id in self.pinned:
            sells.append(self.pinned[item.item_id])
        for name in sells:
            product = self.items.get(name)
            if product and (rule.shop in (None, product.shop)) and not product.attributes.get(rule.unless):
                return True
        return False

    def rate(self, floor: Floor, item: Item, now_ms: int) -> float:
        """What a floor says of an item."""
        key = item.item_id if floor.of == "item" else item.merchant_id
        if not key:
            return 0.0
        every, own = self.sold["kind", Kind.PRODUCT], self.sold[floor.of, key]
        orders = every.read(Action.ORDER, now_ms)
        base = sum(every.read(bad, now_ms) for bad in BAD[floor.rate]) / orders if orders else 0.0
        bad = sum(own.read(one, now_ms) for one in BAD[floor.rate])
        ordered = own.read(Action.ORDER, now_ms)
        return (bad + floor.prior * base) / (ordered + floor.prior) if ordered + bad > 0 else 0.0

    def sells(self, item: Item) -> bool:
        """Whether an item is commerce."""
        return item.kind == Kind.PRODUCT or (item.kind == Kind.ROOM and item.item_id in self.pinned)

    # -- one page -----------------------------------------------------------------------------------------------------

    def hides(self, user: str, item: FeedItem) -> bool:
        """Whether a person does not want to see an item."""
        hidden = self.hidden.get(user, set())
        keys = (("item", item.item_id), ("author", item.author_id), ("category", item.category))
        return any(name and (kind, name) in hidden for kind, name in keys)

    def broken_bounds(self, policy: Policy, feed: Feed, sold_before: int) -> list[str]:
        """The bounds that a page breaks without saying so; ``sold_before`` slots sold to the person this day."""
        found = []
        for bound in policy.surface(feed.surface).bounds:
            keys = [self._key(policy, bound.of, item.item_id, feed.now_ms) for item in feed.items]
            if bound.window == "day":
                broken = bool(keys.count(True)) and sold_before + keys.count(True) > bound.at_most
            else:
                windows = [keys[max(0, end - bound.window) : end] for end in range(1, len(keys) + 1)]
                broken = any(key and window.count(key) > bound.at_most for window in windows for key in window)
            if broken and bound.name not in feed.relaxed:
                found.append(f"breaks {bound.name} and does not say so")
        return found

    def out_of_order(self, policy: Policy, feed: Feed, candidates: list[str], sold_before: int) -> list[str]:
        """Slots that break a bound where another candidate broke none, or only what gives way before it."""
        bounds, page = policy.surface(feed.surface).bounds, [item.item_id for item in feed.items]
        keys = self._keys(policy, bounds, page, feed.now_ms)
        levels = [self._level(bounds, keys, page[:slot], name, sold_before) for slot, name in enumerate(page)]
        if any(levels):
            keys |= self._keys(policy, bounds, candidates, feed.now_ms)
        found = []
        for slot, item in enumerate(feed.items):
            level = levels[slot]
            left = (
                [name for name in candidates if name not in page[: slot + 1]] if level and item.propensity == 1 else []
            )
            if any(self._level(bounds, keys, page[:slot], name, sold_before) < level for name in left):
                found.append(f"slot {slot} has {bounds[level - 1].name} give way out of order")
        return found

    def _keys(
        self, policy: Policy, bounds: Sequence[Bound], names: list[str], now_ms: int
    ) -> dict[str, list[str | bool]]:
        return {name: [self._key(policy, bound.of, name, now_ms) for bound in bounds] for name in names}

    def _level(
        self, bounds: Sequence[Bound], keys: dict[str, list[str | bool]], page: list[str], name: str, sold_before: int
    ) -> int:
        """How many bounds, from the first, must give way for an item to follow a page."""
        for at in reversed(range(len(bounds))):
            before = page if bounds[at].window == "day" else page[max(0, len(page) - int(bounds[at].window) + 1) :]
            held = sum(keys[one][at] == keys[name][at] for one in before)
            held += sold_before if bounds[at].window == "day" else 0
            if keys[name][at] and held + 1 > bounds[at].at_most:
                return at + 1
        return 0

    def _key(self, policy: Policy, of: str, name: str, now_ms: int) -> str | bool:
        item = self.items[name]
        if of == "head_host":
            return self.exposure(item.author_id, now_ms) >= policy.head_hosts.share + CLOSE
        if of in ("author", "merchant", "brand"):
            return str(getattr(item, f"{of}_id"))
        if of == "category":
            return item.category
        return self.sells(item) if of == "commerce" else item.kind == of

    def exposure(self, author: str, now_ms: int) -> float:
        """The share of all impressions that an author has."""
        every = sum(self.sold["kind", kind].read(Action.IMPRESSION, now_ms) for kind in Kind)
        return self.sold["author", author].read(Action.IMPRESSION, now_ms) / every if author and every else 0.0

    def serve(self, policy: Policy, feed: Feed, utc_offset_ms: int, own: list[float]) -> list[str]:
        """Take in a page; what it spent of boosts that it may not have, by what candidates are worth without them."""
        day = (feed.now_ms + utc_offset_ms) // DAY_MS
        self.selling[feed.user_id, day] += sum(item.sells for item in feed.items)
        wrong = []
        for shown in feed.items:
            if shown.boost_spent:
                boost = next((one for one in policy.boosts if self._boosts(one.name, policy, shown, feed)), None)
                if boost is None:
                    wrong.append(f"{shown.item_id} is boosted by nothing that holds")
                    continue
                self.spent[boost.name] += shown.boost_spent
                if shown.value - boost.term < sorted(own)[int(boost.floor * (len(own) - 1))] - 1e-9:
                    wrong.append(f"{shown.item_id} is boosted below the floor of {boost.name}")
                if self.spent[boost.name] > boost.budget:
                    wrong.append(f"boost {boost.name} is overspent")
        return wrong

    def _boosts(self, name: str, policy: Policy, shown: FeedItem, feed: Feed) -> bool:
        boost = next(one for one in policy.boosts if one.name == name)
        item = self.items[shown.item_id]
        on = (not boost.begins or milliseconds(boost.begins) <= feed.now_ms) and (
            not boost.until or feed.now_ms < milliseconds(boost.until)
        )
        named = (
            (boost.items, item.item_id), (boost.authors, item.author_id), (boost.merchants, item.merchant_id),
            (boost.brands, item.brand_id), (boost.categories, item.category), (boost.kinds, item.kind),
            (boost.surfaces, feed.surface),
        )  # fmt: skip
        return on and boost.term == shown.terms["boost"] and all(not names or value in names for names, value in named)
