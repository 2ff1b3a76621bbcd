"""Logs made by lot, with everything a log may hold: all actions, late events, repeats, catalog changes, controls."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from features.logs.log import Stored, to_batch
from features.records import Action, Context, Control, Erase, Event, Item, Kind, Record, User

START_MS = 1_650_000_000_000
PEOPLE = [Action.IMPRESSION, Action.IMPRESSION, Action.CLICK, Action.WATCH, Action.WATCH, Action.LIKE, Action.ORDER]
RARE = [
    Action.HIDE,
    Action.COMMENT,
    Action.SHARE,
    Action.FOLLOW,
    Action.GIFT,
    Action.CART,
    Action.REFUND,
    Action.REPORT,
]
ROOMS = [Action.ROOM_START, Action.ROOM_PULSE, Action.ROOM_PULSE, Action.ROOM_END, Action.ROOM_PIN]
KINDS = [Kind.VIDEO, Kind.ROOM, Kind.PRODUCT]


class MemoryLog:
    """A log in a list, cut into batches of a given length."""

    def __init__(self, stored: Sequence[Stored], batch: int = 64) -> None:
        self.stored = list(stored)
        self.batch = batch

    def end(self) -> int:
        return len(self.stored)

    def append(self, records: Sequence[Record], received_ms: int) -> list[int | None]:
        self.stored += [Stored(len(self.stored) + i, received_ms, record) for i, record in enumerate(records)]
        return list(range(len(self.stored) - len(records), len(self.stored)))

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[pa.RecordBatch]:
        stop = len(self.stored) if stop is None else stop
        for low in range(start, stop, self.batch):
            yield to_batch(self.stored[low : min(low + self.batch, stop)])

    def archive(self, before_ms: int) -> int:
        return 0


def random_item(rng: np.random.Generator, name: int, ts_ms: int) -> Item:
    return Item(
        item_id=f"i{name}",
        ts_ms=ts_ms,
        kind=KINDS[name % 3],
        title=f"新品 {name}",
        author_id=f"a{name % 40}",
        merchant_id=f"m{name % 4}",
        brand_id=f"b{name % 3}" if name % 2 else "",
        category=f"c{rng.integers(12)}",
        price=int(rng.integers(1, 10_000)),
        duration_ms=int(rng.integers(0, 30_000)),
        live_from_ms=ts_ms - int(rng.integers(0, 10**9)),
        products=("i2", "i5") if name % 3 == 1 else (),
        attributes={"music": f"t{rng.integers(3)}", "width": float(rng.integers(100))},
    )


def random_event(rng: np.random.Generator, number: int, now_ms: int, users: int, items: int) -> Event:
    late = int(rng.choice([0, 0, 0, 0, 5_000, 86_400_000, 8 * 86_400_000]))
    pool = ROOMS if rng.random() < 0.08 else RARE if rng.random() < 0.15 else PEOPLE
    action = pool[rng.integers(len(pool))]
    item, user = f"i{rng.integers(items)}", f"u{rng.integers(users)}"
    request = f"r{rng.integers(40)}" if rng.random() < 0.5 else ""
    context = Context(["feed", "plaza"][rng.integers(2)], "phone", position=int(rng.integers(10)))
    if action in ROOMS:
        via = f"i{rng.integers(items)}" if action is Action.ROOM_PIN else ""
        return Event(f"e{number}", now_ms - late, item, action, via_item_id=via, value=int(rng.integers(1000)))
    via = f"i{rng.integers(items)}" if rng.random() < 0.2 else ""
    value = int(rng.integers(0, 100_000))
    return Event(f"e{number}", now_ms - late, item, action, user, via, value, request, context)


def random_log(seed: int, length: int, users: int = 8, items: int = 60, batch: int = 64) -> MemoryLog:
    """A log of a few days: catalog first, then people, rooms and changes of mind."""
    rng = np.random.default_rng(seed)
    now_ms = START_MS
    records: list[tuple[int, Record]] = [(now_ms, random_item(rng, name, now_ms)) for name in range(items - 2)]
    for name in range(users - 1):
        history = tuple(f"i{i}" for i in rng.integers(0, items, 3))
        person = User(f"u{name}", now_ms, "20-24", "f", "1", START_MS - 10**9, history, {"level": "x"})
        records.append((now_ms, person))
    for number in range(length):
        now_ms += int(rng.integers(0, 120_000))
        draw = rng.random()
        if draw < 0.03:
            records.append((now_ms, random_item(rng, int(rng.integers(items)), now_ms)))
        elif draw < 0.04:
            records.append((now_ms, Erase(f"u{rng.integers(users)}", now_ms)))
        elif draw < 0.06:
            user = f"u{rng.integers(users)}"
            controls = (
                Control(user, now_ms, "personalisation_on"),
                Control(user, now_ms, "personalisation_off"),
                Control(user, now_ms, "hide_item", "i1"),
                Control(user, now_ms, "hide_author", "a2"),
                Control(user, now_ms, "clear_history"),
            )
            records.append((now_ms, controls[rng.integers(len(controls))]))
        else:
            records.append((now_ms, random_event(rng, number, now_ms, users, items)))
    return MemoryLog([Stored(i, at, record) for i, (at, record) in enumerate(records)], batch)
