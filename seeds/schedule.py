"""What the catalog and the rooms of the simulated world send, and who opens the app when."""

from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features import outcomes
from features.logs.log import events_table, merge, records_table
from features.records import Action, Item, Kind, Record, User
from features.types import IntArray
from seeds import constants as c
from seeds import words
from seeds.cast import Cast
from seeds.goods import FOREVER

RoomType = Literal["merchant", "kol", "celebrity"]
ROOM_TYPES: tuple[RoomType, ...] = ("merchant", "kol", "celebrity")


class Visits(NamedTuple):
    """Pages opened, by time: rows of persons, times, codes into ``words.SURFACES``; (n,) each."""

    user: IntArray
    time_ms: IntArray
    surface: IntArray


def visits_of_day(cast: Cast, day: int) -> Visits:
    """Who opens a page when on a day of the world, 0 the first; a session may run into the next day."""
    rng = np.random.default_rng([cast.seed, 2, day])
    traffic = c.CAMPAIGN_TRAFFIC if day == c.CAMPAIGN_DAY else 1.0
    count = rng.poisson(cast.size.users * cast.size.pages_per_day * traffic / c.PAGES_PER_SESSION)
    rhythm = np.array(c.RHYTHM) / sum(c.RHYTHM)
    begin = cast.start_ms + day * c.DAY_MS
    opened = begin + rng.choice(24, count, p=rhythm) * c.HOUR_MS + rng.integers(0, c.HOUR_MS, count)
    user = rng.choice(cast.size.users, count, p=cast.people.activity)
    surface = rng.choice(len(words.SURFACES), count, p=c.SURFACE_SHARES)
    pages = rng.geometric(1 / c.PAGES_PER_SESSION, count)
    session = np.repeat(np.arange(count), pages)
    gaps = np.exp(np.log(c.PAGE_GAP_MS) + c.PAGE_GAP_SD * rng.normal(size=len(session))).astype(np.int64)
    total = np.cumsum(gaps)
    first = np.cumsum(pages) - pages
    time_ms = opened[session] + total - total[first][session]
    # A person asks for one page at a time.
    _, once = np.unique(time_ms * cast.size.users + user[session], return_index=True)
    return Visits(user[session][once], time_ms[once], surface[session][once])


def visits_between(cast: Cast, since_ms: int, until_ms: int) -> Visits:
    """Who opens a page at since_ms <= time < until_ms."""
    first = max((since_ms - cast.start_ms) // c.DAY_MS - 1, 0)
    last = min((until_ms - 1 - cast.start_ms) // c.DAY_MS, cast.size.days - 1)
    days = [visits_of_day(cast, day) for day in range(first, last + 1)]
    parts = [np.concatenate([np.zeros(0, np.int64), *arrays]) for arrays in zip(*days, strict=True)]
    user, time_ms, surface = parts or [np.zeros(0, np.int64)] * 3
    _, once = np.unique(time_ms * cast.size.users + user, return_index=True)
    kept = once[(time_ms[once] >= since_ms) & (time_ms[once] < until_ms)]
    return Visits(user[kept], time_ms[kept], surface[kept])


def user_records(cast: Cast, ts_ms: int) -> list[User]:
    """All persons; their histories are videos from before the start that suit them."""
    rng = np.random.default_rng([cast.seed, 3])
    goods, truth, people = cast.goods, cast.truth, cast.people
    old = np.flatnonzero((goods.kind == outcomes.VIDEO) & (goods.from_ms < cast.start_ms))
    drawn = (
        old[rng.integers(0, len(old), (cast.size.users, 40))] if len(old) else np.zeros((cast.size.users, 0), np.int64)
    )
    taste = np.einsum("ud,ukd->uk", truth.people.vector, truth.things.vector[drawn])
    best = np.take_along_axis(drawn, np.argsort(-taste - rng.gumbel(size=taste.shape), axis=1), axis=1)
    kept = rng.integers(0, c.HISTORY_MOST + 1, cast.size.users)
    return [
        User(
            user_id=cast.user_ids[row],
            ts_ms=ts_ms,
            age_band=words.AGE_BANDS[people.age[row]],
            gender=words.GENDERS[people.gender[row]],
            city_tier=words.CITY_TIERS[people.tier[row]],
            registered_ms=int(people.registered_ms[row]),
            history=tuple(dict.fromkeys(cast.item_ids[item] for item in best[row, : kept[row]])),
        )
        for row in range(cast.size.users)
    ]


def title_of(cast: Cast, row: int, now_ms: int) -> str:
    """The title of an item at a time."""
    goods = cast.goods
    category = words.CATEGORIES[goods.category[row]]
    noun, adjective = words.NOUNS[category][goods.noun[row]], words.ADJECTIVES[goods.adjective[row]]
    host = int(goods.host[row])
    habits = cast.truth.habits
    on = habits.campaign_from_ms <= now_ms < habits.campaign_until_ms
    match goods.kind[row]:
        case outcomes.PRODUCT:
            brand = int(goods.brand[row])
            first, second = words.SYLLABLES[brand % 20], words.SYLLABLES[brand // 20 % 20]
            prefix = words.CAMPAIGN if on and cast.truth.things.sale_price[row] < goods.price[row] else ""
            return f"{prefix}{first}{second} {adjective}{noun}"
        case outcomes.VIDEO:
            return words.VIDEO_FORMS[row % len(words.VIDEO_FORMS)].format(noun=noun, adjective=adjective)
        case _:
            name = words.SURNAMES[host % 20] + words.GIVEN_NAMES[host // 20 % len(words.GIVEN_NAMES)]
            form = words.ROOM_FORMS[row % len(words.ROOM_FORMS)]
            return (words.CAMPAIGN if on else "") + form.format(noun=noun, adjective=adjective, host=name)


def item_record(cast: Cast, row: int, now_ms: int) -> Item:
    """The catalog row of an item as it is at a time."""
    goods, things, habits = cast.goods, cast.truth.things, cast.truth.habits
    kind, host = int(goods.kind[row]), int(goods.host[row])
    is_product, of_merchant = kind == outcomes.PRODUCT, cast.hosts.type[host] == 0
    on = habits.campaign_from_ms <= now_ms < habits.campaign_until_ms
    stock = -1 if things.out_from_ms[row] == FOREVER else c.STOCK
    out = things.out_from_ms[row] <= now_ms < things.out_until_ms[row]
    return Item(
        item_id=cast.item_ids[row],
        ts_ms=now_ms,
        kind=Kind(outcomes.KIND_NAMES[kind]),
        title=title_of(cast, row, now_ms),
        author_id="" if is_product else f"h{host}",
        merchant_id=f"m{host}" if of_merchant else "",
        brand_id=f"b{goods.brand[row]}" if is_product else "",
        category=words.CATEGORIES[goods.category[row]],
        price=int((things.sale_price if on else things.price)[row]),
        stock=0 if out else stock,
        shop=("own" if goods.own_shop[row] else "third_party") if is_product else "",
        room_type=ROOM_TYPES[cast.hosts.type[host]] if kind == outcomes.ROOM else "",
        duration_ms=int(goods.duration_ms[row]),
        live_from_ms=0 if kind == outcomes.ROOM else int(goods.from_ms[row]),
        products=tuple(cast.item_ids[k] for k in things.cart[things.start[row] : things.start[row + 1]]),
        attributes={} if is_product else {"followers": float(round(cast.hosts.followers[host]))},
    )


def catalog(cast: Cast) -> pa.Table:
    """Persons and all items that are there before the start, received a second before it."""
    now_ms = cast.start_ms - c.SECOND_MS
    there = np.flatnonzero(cast.goods.from_ms <= now_ms)
    items = [item_record(cast, row, now_ms) for row in there.tolist()]
    records: list[Record] = [*user_records(cast, now_ms), *items]
    return records_table([(now_ms, record) for record in records])


def changes(cast: Cast, since_ms: int, until_ms: int) -> pa.Table:
    """Item records of the time: what appears, campaign prices, stock that runs out and comes back."""
    goods, things, habits = cast.goods, cast.truth.things, cast.truth.habits
    dealt = np.flatnonzero((things.sale_price < things.price) & (things.kind == outcomes.PRODUCT))
    times = [goods.from_ms, things.out_from_ms, things.out_until_ms]
    moments = np.concatenate(
        [*times, *(np.full(len(dealt), at) for at in (habits.campaign_from_ms, habits.campaign_until_ms))]
    )
    rows = np.concatenate([*[np.arange(len(goods.kind))] * 3, dealt, dealt])
    in_time = (moments >= since_ms) & (moments < until_ms) & (moments >= goods.from_ms[rows])
    pairs = np.unique(np.stack([moments[in_time], rows[in_time]], axis=1), axis=0)
    return records_table([(now_ms, item_record(cast, row, now_ms)) for now_ms, row in pairs.tolist()])


def room_events(cast: Cast, since_ms: int, until_ms: int) -> pa.Table:
    """Starts, pulses, pins and ends of rooms in the time, sorted."""
    goods, things = cast.goods, cast.truth.things
    rooms = np.flatnonzero((goods.kind == outcomes.ROOM) & (goods.until_ms >= since_ms) & (goods.from_ms < until_ms))
    start, end = goods.from_ms[rooms], goods.until_ms[rooms]
    pulse_room, pulse_ms, beat = _repeated(rooms, start, end, c.PULSE_MS, c.PULSE_MS)
    pin_room, pin_ms, turn = _repeated(rooms, start, end, c.SECOND_MS * 30, c.PIN_MS)
    sells = goods.cart_size[pin_room] > 0
    pin_room, pin_ms, turn = pin_room[sells], pin_ms[sells], turn[sells]
    pinned = things.cart[things.start[pin_room] + turn % goods.cart_size[pin_room]]
    none = np.full(len(rooms), -1)
    room = np.concatenate([rooms, pulse_room, pin_room, rooms])
    ts_ms = np.concatenate([start, pulse_ms, pin_ms, end])
    code = np.repeat(np.arange(4), [len(rooms), len(pulse_room), len(pin_room), len(rooms)])
    number = np.concatenate([none * 0, beat, turn, none * 0])
    item = np.concatenate([rooms, pulse_room, pinned, rooms])
    via = np.concatenate([none, np.full(len(pulse_room), -1), pin_room, none])
    kept = np.flatnonzero((ts_ms >= since_ms) & (ts_ms < until_ms))
    kept = kept[np.lexsort((room[kept], code[kept], ts_ms[kept]))]
    names = pa.array([*cast.item_ids, ""])
    actions = pa.array([Action.ROOM_START, Action.ROOM_PULSE, Action.ROOM_PIN, Action.ROOM_END], pa.string())
    room_id, action = names.take(pa.array(room[kept])), actions.take(pa.array(code[kept]))
    return events_table({
        "received_ms": ts_ms[kept],
        "ts_ms": ts_ms[kept],
        "event_id": pc.binary_join_element_wise(room_id, action, pc.cast(pa.array(number[kept]), pa.string()), "-"),
        "item_id": names.take(pa.array(item[kept])),
        "via_item_id": names.take(pa.array(np.where(via[kept] < 0, len(cast.item_ids), via[kept]))),
        "action": action,
        "value": np.where(code[kept] == 1, _viewers(cast, room[kept], ts_ms[kept]), 0),
    })  # fmt: skip


def _repeated(
    rooms: IntArray, start: IntArray, end: IntArray, first_ms: int, every_ms: int
) -> tuple[IntArray, IntArray, IntArray]:
    """The room, time and number of what a room does again and again, strictly before its end."""
    counts = np.maximum((end - start - first_ms - 1) // every_ms + 1, 0)
    number = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.repeat(rooms, counts), np.repeat(start + first_ms, counts) + number * every_ms, number


def _viewers(cast: Cast, room: IntArray, ts_ms: IntArray) -> IntArray:
    """How many people are in a room: by the host's following, the hour and how long it has been on."""
    goods, things = cast.goods, cast.truth.things
    hour = (ts_ms + c.UTC_OFFSET_MS) // c.HOUR_MS % 24
    warm = 1 - np.exp(-(ts_ms - goods.from_ms[room]) / (20 * c.MINUTE_MS))
    wave = 1 + 0.15 * np.sin(ts_ms / (7 * c.MINUTE_MS) + room)
    crowd = cast.hosts.followers[goods.host[room]] ** 0.6 * np.exp(0.4 * things.quality[room])
    viewers: IntArray = (crowd * np.array(c.RHYTHM)[hour] * warm * wave).astype(np.int64)
    return viewers


def room_records(cast: Cast, since_ms: int, until_ms: int) -> pa.Table:
    """All that catalog and rooms send at since_ms <= time < until_ms, sorted; a room's item comes before its start."""
    return merge([changes(cast, since_ms, until_ms), room_events(cast, since_ms, until_ms)])
