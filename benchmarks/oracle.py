"""What may be shown, in plain Python: the rules of a policy over records, one item and one page at a time.

It shares no line with the engine: it reads records, not state, and counts in loops. It is slow and easy to believe.
"""

from collections import defaultdict
from collections.abc import Iterable

from features.logs.log import DAY_MS
from features.records import FUTURE_MS, Action, Control, Event, Item, Kind, Record
from ranking.api import Feed, FeedItem
from ranking.policy import Policy
from ranking.policy.dates import milliseconds
from ranking.policy.quality import Floor
from ranking.policy.rules import Rule

WEEK_MS = 7 * DAY_MS
SOLD = (Action.ORDER, Action.REFUND, Action.COMPLAINT)
BAD = {"refund": SOLD[1:2], "complaint": SOLD[2:], "after_sales": SOLD[1:]}
CLOSE = 1e-4
"""Rates so near a floor are not judged: the engine counts in float32."""


class Counter:
    """Counts that halve every week, of one thing."""

    def __init__(self) -> None:
        self.counts = dict.fromkeys(SOLD, 0.0)
        self.at_ms = 0

    def add(self, action: Action, ts_ms: int) -> None:
        """Count once, at a time that may be before the last."""
        if ts_ms >= self.at_ms:
            self.counts = {one: self.read(one, ts_ms) for one in SOLD}
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
        self.waiting: list[tuple[str, int, int]] = []
        self.spent: defaultdict[str, float] = defaultdict(float)

    def follow(self, records: Iterable[Record]) -> None:
        """Take in what came next."""
        for record in records:
            match record:
                case Item():
                    self.items[record.item_id] = record
                case Control(command=command, target=target) if command.startswith("hide_"):
                    self.hidden[record.user_id].add((command.removeprefix("hide_"), target))
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
            case action if action in SOLD:
                item = self.items[name]
                for of, key in (("item", name), ("merchant", item.merchant_id), ("kind", item.kind)):
                    if key:
                        self.sold[of, key].add(action, event.ts_ms)
                if event.via_item_id:
                    self.sold["item", event.via_item_id].add(action, event.ts_ms)

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
            if bound.of == "head_host":
                continue  # by shares of all impressions, which are not counted here
            keys = [self._key(bound.of, item) for item in feed.items]
            if bound.window == "day":
                broken = bool(keys.count(True)) and sold_before + keys.count(True) > bound.at_most
            else:
                windows = [keys[max(0, end - bound.window) : end] for end in range(1, len(keys) + 1)]
                broken = any(key and window.count(key) > bound.at_most for window in windows for key in window)
            if broken and bound.name not in feed.relaxed:
                found.append(f"breaks {bound.name} and does not say so")
        return found

    def _key(self, of: str, shown: FeedItem) -> str | bool:
        item = self.items[shown.item_id]
        if of in ("author", "merchant", "brand"):
            return str(getattr(item, f"{of}_id"))
        if of == "category":
            return item.category
        return shown.sells if of == "commerce" else item.kind == of

    def serve(self, policy: Policy, feed: Feed, utc_offset_ms: int) -> list[str]:
        """Take in a page; what it spent of boosts that it may not have."""
        day = (feed.now_ms + utc_offset_ms) // DAY_MS
        self.waiting.append((feed.user_id, day, sum(item.sells for item in feed.items)))
        wrong = []
        for shown in feed.items:
            if shown.boost_spent:
                boost = next((one for one in policy.boosts if self._boosts(one.name, policy, shown, feed)), None)
                if boost is None:
                    wrong.append(f"{shown.item_id} is boosted by nothing that holds")
                    continue
                self.spent[boost.name] += shown.boost_spent
                if self.spent[boost.name] > boost.budget:
                    wrong.append(f"boost {boost.name} is overspent")
        return wrong

    def flush(self) -> None:
        """Count the pages so far for their day: they are in the log now."""
        for user, day, sold in self.waiting:
            self.selling[user, day] += sold
        self.waiting.clear()

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
        return on and all(not names or value in names for names, value in named)
