"""A world where everything that a rule may look at changes, between pages and in the middle of them."""

from random import Random
from typing import Literal

import msgspec
import numpy as np

from benchmarks.oracle import SOLD, Oracle
from features.records import Action, Control, Event, Item, Kind, Record
from features.types import DoubleArray
from ranking import Bundle, Engine, Feed
from ranking.bundles.ranker import BundleRanker
from ranking.request.generation import Generation
from ranking.types import Batch

COMMANDS: tuple[Literal["clear_history", "personalisation_off", "personalisation_on"], ...] = (
    "clear_history",
    "personalisation_off",
    "personalisation_on",
)
TWINS = ("twin", "other twin")
"""Two who switched personalisation off, and of whom the same is hidden and shown: nothing."""
ROOMS = 40
"""So many rooms are on air, more or less."""


class Interrupted(BundleRanker):
    """A bundle's ranker that lets the world go on in the middle of a request."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle)
        self.waiting: list[Record] = []
        self.world: World | None = None
        self.candidates: list[str] = []
        self.own: list[float] = []

    def predict(self, batch: Batch, trees: int | None = None) -> DoubleArray:
        """As the bundle says, once what waits has happened."""
        if self.waiting and self.world:
            records, self.waiting = self.waiting, []
            self.world.happen(records)
        found = super().predict(batch, trees)
        if self.world:
            self._look(batch, found, self.world.engine.generation)
        return found

    def _look(self, batch: Batch, found: DoubleArray, generation: Generation) -> None:
        """Keep who the candidates were, and what each was worth before boosts."""
        self.candidates = [generation.state.items.name(row) for row in batch.rows.tolist()]
        bundle, surface = generation.bundle, batch.query.context.surface
        weights = generation.policy.weights_for(surface, bundle.weights).signed(self.heads)
        factors = (bundle.scales_of(self.heads) * weights[:, None])[:, batch.kinds].T
        own = np.where(factors == 0, 0.0, factors * found).sum(axis=1) + batch.decided.terms.sum(axis=1)
        self.own = own.tolist()


class World:
    """An engine, its oracle, and what goes on around them, by the luck of a seed."""

    def __init__(self, engine: Engine, oracle: Oracle, now_ms: int, seed: int) -> None:
        self.engine = engine
        self.oracle = oracle
        self.random = Random(seed)  # noqa: S311 - a world, not a secret
        self.now_ms = now_ms
        self.on_air: list[str] = []
        self.count = 0
        self.records = 0
        self.unsent: list[Record] = []
        self.products = [item.item_id for item in oracle.items.values() if item.kind == Kind.PRODUCT]

    def happen(self, records: list[Record]) -> None:
        """Let it happen: the log takes it, and pages that were served before are counted."""
        for ack in self.engine.append(records, self.now_ms):
            if ack.status != "accepted":
                raise AssertionError(ack.error or ack.status)
        self.oracle.follow(records)
        self.records += len(records)

    def churn(self) -> list[Record]:
        """What changes in a moment."""
        chance = self.random.random
        records, self.unsent = self.unsent, []
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
        if chance() < 0.1:
            user = f"u{self.random.randrange(40)}"
            records.append(Control(user, self.now_ms, self.random.choice(COMMANDS)))
        # Of two people who are nobody in particular one does things, and it must not show.
        records.append(self._event(self._product(), Action.LIKE, user=TWINS[0]))
        return records

    def send(self, feed: Feed) -> None:
        """Let most people report what they were shown, with what happens next."""
        if feed.user_id and self.random.random() < 0.7:
            self.unsent += [self._event(item.item_id, Action.IMPRESSION, user=feed.user_id) for item in feed.items]

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
        user, via = f"u{self.random.randrange(80)}", self.random.choice(["", *self.on_air])
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
