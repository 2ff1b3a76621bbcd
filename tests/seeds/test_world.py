"""The simulated world: its log, its answers, and that it knows the truth about both."""

from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features import outcomes
from features.checks import check
from features.errors import RequestError
from features.layout import ACTIONS
from features.logs.archive import Archive
from features.logs.log import UNPLACED, from_batch
from features.records import Event, Item, Served, User
from seeds import constants as c
from seeds.world import Size, World

KINDS = ("video", "room", "product")
EVENING_MS = c.START_MS + 21 * c.HOUR_MS
TINY = Size(users=60, hosts=20, videos=120, products=60, days=3)


@pytest.fixture(scope="module")
def world() -> World:
    return World.create(7, Size.small())


@pytest.fixture(scope="module")
def log(world: World) -> pa.Table:
    return pa.concat_tables(world.log()).combine_chunks()


@pytest.fixture(scope="module")
def stored(log: pa.Table) -> list[tuple[int, object]]:
    placed = log.add_column(0, "offset", pa.array(range(len(log)), pa.int64()))
    rows = [row for batch in placed.to_batches() for row in from_batch(batch)]
    return [(row.received_ms, row.record) for row in rows]


@pytest.fixture(scope="module")
def items(stored: list[tuple[int, object]]) -> dict[str, Item]:
    return {record.item_id: record for _, record in stored if isinstance(record, Item)}


def counts_by_kind(events: list[Event], items: dict[str, Item]) -> dict[str, Counter[str]]:
    """Events of persons by kind of the item they happened in, completion and the long view as the engine has them."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for event in events:
        item = items[event.via_item_id or event.item_id]
        found[item.kind][event.action] += 1
        if event.action == "watch":
            kind, room_type = outcomes.KIND_CODES[item.kind], outcomes.ROOM_TYPE_CODES[item.room_type]
            found[item.kind]["complete"] += outcomes.is_complete(kind, room_type, item.duration_ms, event.value)
            found[item.kind]["long_view"] += outcomes.is_long_view(kind, item.duration_ms, event.value)
    return found


@pytest.fixture(scope="module")
def events(stored: list[tuple[int, object]]) -> list[Event]:
    return [record for _, record in stored if isinstance(record, Event)]


@pytest.fixture(scope="module")
def counts() -> dict[str, Counter[str]]:
    """What the log of a standard world holds, by kind of the item it happened in."""
    world = World.create(7, Size.standard())
    things = world.cast.truth.things
    table = pa.concat_tables(
        table.select(["action", "item_id", "via_item_id", "user_id", "value"]) for table in world.log()
    )
    table = table.filter(pc.and_(pc.not_equal(table["action"], ""), pc.not_equal(table["user_id"], "")))
    place = pc.if_else(pc.equal(table["via_item_id"], ""), table["item_id"], table["via_item_id"])
    row = pc.index_in(place, value_set=pa.array(world.cast.item_ids)).to_numpy()
    action, value = table["action"].to_numpy(), table["value"].to_numpy()
    found = {}
    for kind in KINDS:
        mine = things.kind[row] == outcomes.KIND_CODES[kind]
        found[kind] = Counter(action[mine].tolist())
        watch = mine & (action == "watch")
        found[kind]["complete"] = int((value >= things.full_ms[row])[watch].sum())
        found[kind]["long_view"] = int((value >= things.long_ms[row])[watch].sum())
    return found


def test_one_seed_writes_one_log_and_another_seed_another() -> None:
    def written(seed: int) -> bytes:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, UNPLACED) as stream:
            for table in World.create(seed, TINY).log():
                stream.write_table(table)
        return bytes(sink.getvalue())

    assert written(5) == written(5)
    assert written(5) != written(6)


def test_a_log_of_fewer_days_is_the_beginning_of_the_whole() -> None:
    world = World.create(5, TINY)
    part, whole = list(world.log(until_ms=world.start_ms + c.DAY_MS)), list(world.log())
    assert len(part) == 5
    assert all(mine.equals(theirs) for mine, theirs in zip(part, whole, strict=False))


@pytest.mark.parametrize("kind", KINDS)
def test_frequent_feedback_has_the_rates_of_the_constants(kind: str, counts: dict[str, Counter[str]]) -> None:
    shown = counts[kind]["impression"]
    assert shown > 80_000
    for action in ("click", "long_view", "complete"):
        assert counts[kind][action] / shown == pytest.approx(c.RATES[kind][action], rel=0.12), action


@pytest.mark.parametrize("kind", KINDS)
def test_rare_feedback_has_the_rates_of_the_constants(kind: str, counts: dict[str, Counter[str]]) -> None:
    shown = counts[kind]["impression"]
    for action in ("like", "comment", "share", "follow", "gift", "cart", "order", "hide", "report"):
        mean = shown * c.RATES[kind].get(action, 0.0)
        assert abs(counts[kind][action] - mean) <= 0.25 * mean + 3 * np.sqrt(mean), action


def test_videos_complete_as_often_as_kuairand_says(counts: dict[str, Counter[str]]) -> None:
    assert 0.14 <= counts["video"]["complete"] / counts["video"]["impression"] <= 0.20


def test_every_action_of_the_schema_is_in_a_log(counts: dict[str, Counter[str]], events: list[Event]) -> None:
    told = {*sum(counts.values(), Counter()), *(event.action for event in events)}
    assert told == {*ACTIONS}


def test_later_slots_are_looked_at_less(events: list[Event]) -> None:
    seen = {action: np.zeros(c.PAGE) for action in ("impression", "watch", "click")}
    for event in events:
        if event.action in seen:
            seen[event.action][event.context.position] += 1
    looked = seen["watch"] / seen["impression"]
    assert looked == pytest.approx(1 / (1 + c.EXAMINATION * np.arange(c.PAGE)), abs=0.03)
    clicked = seen["click"] / seen["impression"]
    assert clicked[0] > 1.4 * clicked[-1]


def test_a_log_is_sorted_and_every_record_passes_the_check(stored: list[tuple[int, object]]) -> None:
    assert len(stored) > 150_000
    assert all(earlier[0] <= later[0] for earlier, later in pairwise(stored))
    for received_ms, record in stored:
        assert isinstance(record, Event | Item | Served | User)
        check(record, received_ms)
    ids = [record.event_id for _, record in stored if isinstance(record, Event)]
    assert len(set(ids)) == len(ids)


def test_an_archive_takes_the_tables_one_after_the_other(tmp_path: Path) -> None:
    archive, total = Archive(tmp_path), 0
    for table in World.create(5, TINY).log():
        archive.extend(table)
        total += len(table)
        assert archive.end() == total


def test_a_page_was_read_at_the_offset_the_log_had(stored: list[tuple[int, object]]) -> None:
    pages = [
        (offset, received, record) for offset, (received, record) in enumerate(stored) if isinstance(record, Served)
    ]
    assert len(pages) > 5_000
    slots = {page.request_id: {slot.item_id for slot in page.slots} for _, _, page in pages}
    for offset, received_ms, page in pages:
        assert (page.read_offset, page.ts_ms) == (offset, received_ms)
    read = {page.request_id: page.read_offset for _, _, page in pages}
    for offset, (_, record) in enumerate(stored):
        if isinstance(record, Event) and record.user_id:
            assert offset > read[record.request_id]
            assert (record.via_item_id or record.item_id) in slots[record.request_id]


def test_pages_hold_what_was_there_and_what_the_surface_shows(
    stored: list[tuple[int, object]], items: dict[str, Item]
) -> None:
    known, on = set[str](), set[str]()
    surfaces = Counter[str]()
    for _, record in stored:
        match record:
            case Item():
                known.add(record.item_id)
            case Event(action="room_start"):
                on.add(record.item_id)
            case Event(action="room_end"):
                on.remove(record.item_id)
            case Served(slots=slots, context=context):
                kinds = {items[slot.item_id].kind for slot in slots}
                surfaces[context.surface] += 1
                assert kinds <= {"feed": {*KINDS}, "plaza": {"room"}, "mall": {"product"}}[context.surface]
                assert all(slot.item_id in known for slot in slots)
                assert all(slot.item_id in on for slot in slots if items[slot.item_id].kind == "room")
    assert surfaces["feed"] > surfaces["mall"] > 100
    assert surfaces["plaza"] > 100


def test_rooms_start_pulse_pin_and_end_and_never_come_back(world: World) -> None:
    table = world.room_records(world.start_ms, world.end_ms + c.DAY_MS)
    rows = table.filter(pc.equal(table["type"], "event")).select(["action", "item_id", "via_item_id", "ts_ms"])
    told: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for row in rows.to_pylist():
        told[row["via_item_id"] or row["item_id"]].append((row["ts_ms"], row["action"]))
    described = dict(zip(table["item_id"].to_pylist(), table["received_ms"].to_pylist(), strict=True))
    for room, acts in told.items():
        (start_ms, first), (end_ms, last) = acts[0], acts[-1]
        assert (first, last) == ("room_start", "room_end")
        assert room in described
        names = Counter(name for _, name in acts)
        assert names["room_start"] == names["room_end"] == 1
        assert c.HOUR_MS <= end_ms - start_ms <= 8 * c.HOUR_MS
        assert all(start_ms < ts_ms < end_ms for ts_ms, _ in acts[1:-1])
        pulses = [ts_ms for ts_ms, name in acts if name in {"room_start", "room_pulse", "room_end"}]
        assert max(np.diff(pulses)) <= c.MINUTE_MS
        assert names["room_pin"] >= 9
    now_ms = world.start_ms + 45 * c.HOUR_MS
    alive = {room for room, acts in told.items() if acts[0][0] <= now_ms < acts[-1][0]}
    assert alive == {*world.alive(now_ms)} != set()


def test_records_of_two_windows_are_those_of_one(world: World) -> None:
    a, b, z = (world.start_ms + hours * c.HOUR_MS for hours in (9, 15, 30))
    parts = pa.concat_tables([world.room_records(a, b), world.room_records(b, z)])
    assert parts.combine_chunks().equals(world.room_records(a, z).combine_chunks())
    first, second, whole = world.visits(a, b), world.visits(b, z), world.visits(a, z)
    assert first.user_id + second.user_id == whole.user_id
    assert [*first.time_ms, *second.time_ms] == whole.time_ms.tolist()
    assert (np.diff(whole.time_ms) >= 0).all()


def test_a_page_of_the_log_is_what_respond_answers(world: World, stored: list[tuple[int, object]]) -> None:
    told: dict[str, list[tuple[int, Event]]] = defaultdict(list)
    for received_ms, record in stored:
        if isinstance(record, Event) and record.user_id:
            told[record.request_id].append((received_ms, record))
    met, compared = dict[str, int](), 0
    for _, page in stored:
        if not isinstance(page, Served):
            continue
        fresh = page.ts_ms - met.get(page.user_id, 0) > c.SESSION_MS
        met[page.user_id] = page.ts_ms
        if fresh and page.ts_ms < world.start_ms + c.DAY_MS:
            ids = [slot.item_id for slot in page.slots]
            answer = world.respond(page.user_id, ids, page.ts_ms, page.request_id, surface=page.context.surface)
            assert [pair for pair in answer if pair[0] < world.end_ms] == told[page.request_id]
            compared += 1
    assert compared > 300


def deeds(answer: list[tuple[int, Event]], item_id: str) -> set[tuple[str, int, str]]:
    mine = [event for _, event in answer if item_id in {event.item_id, event.via_item_id}]
    return {(event.action, event.value, event.item_id) for event in mine}


@given(st.integers(0, 699), st.lists(st.integers(0, 899), max_size=9, unique=True), st.integers(0, 10**6))
def test_luck_is_paired_whatever_else_is_on_the_page(user: int, others: list[int], visit: int) -> None:
    world = World.create(7, TINY)
    user_id, page = f"u{user % 60}", [f"v{video % 50}" for video in others if video % 50 != 3]
    alone = world.respond(user_id, ["v3"], EVENING_MS, visit=visit)
    assert [event.action for _, event in alone if event.action == "watch"]
    assert deeds(world.respond(user_id, ["v3", *page], EVENING_MS, visit=visit), "v3") == deeds(alone, "v3")
    # Further down, a slot looked at by the same luck differs through fatigue alone.
    tired = world.respond(user_id, ["v3"], EVENING_MS, visit=visit, seen=page)
    below = world.respond(user_id, [*page, "v3"], EVENING_MS, visit=visit)
    assert deeds(below, "v3") in (deeds(tired, "v3"), {("impression", 0, "v3")})


def test_a_visit_without_a_number_has_luck_of_its_own(world: World) -> None:
    page = [f"v{row}" for row in range(10)]
    at = [world.respond("u1", page, EVENING_MS + k) for k in range(2)]
    assert [e.value for _, e in at[0]] != [e.value for _, e in at[1]]


@pytest.mark.parametrize("surface", ["feed", "plaza", "mall"])
def test_expected_is_the_frequency_of_what_happens(surface: str, world: World, items: dict[str, Item]) -> None:
    now_ms, trials = EVENING_MS + 2 * c.DAY_MS, 2_500
    ids = [world.alive(now_ms)[0], "v1", "p1", "p2"]
    events = list[Event]()
    means: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    for user in range(3):
        expected = world.expected(f"u{user}", ids, now_ms, surface)
        assert (expected["click"] > 0).all()
        for k, item_id in enumerate(ids):
            means[items[item_id].kind].update({action: trials * p[k] for action, p in expected.items()})
            for visit in range(trials):
                events += [event for _, event in world.respond(f"u{user}", [item_id], now_ms, "", visit, surface)]
    found = counts_by_kind(events, items)
    for kind in KINDS:
        for action, mean in means[kind].items():
            if action not in {"refund", "complaint"}:
                spread = np.sqrt(mean * max(1 - mean / means[kind]["impression"], 0))
                assert abs(found[kind][action] - mean) <= 4.5 * spread + 3, (kind, action)


def test_refunds_follow_quality() -> None:
    world = World.create(7, TINY)
    quality = world.cast.truth.things.quality[:60]
    worst, best = (f"p{np.argsort(quality)[k]}" for k in (3, -3))
    shares = []
    for product in (worst, best):
        done = Counter[str]()
        for visit in range(30_000):
            done.update(event.action for _, event in world.respond("u1", [product], EVENING_MS, visit=visit))
        shares.append(done["refund"] / done["order"])
    assert shares[0] > 1.5 * shares[1]


def test_refunds_and_complaints_are_a_share_of_orders(counts: dict[str, Counter[str]]) -> None:
    done = sum(counts.values(), Counter[str]())
    # Some orders of the last day come back after the log's end.
    assert done["refund"] / done["order"] == pytest.approx(c.REFUND_RATE, rel=0.25)
    assert done["complaint"] / done["order"] == pytest.approx(c.COMPLAINT_RATE, rel=0.4)


def test_the_truth_has_the_thresholds_of_the_outcomes(world: World, items: dict[str, Item]) -> None:
    things = world.cast.truth.things
    for item_id, item in items.items():
        row = world.cast.item_rows[item_id]
        kind, room_type = outcomes.KIND_CODES[item.kind], outcomes.ROOM_TYPE_CODES[item.room_type]
        full, long = int(things.full_ms[row]), int(things.long_ms[row])
        assert outcomes.is_complete(kind, room_type, item.duration_ms, full)
        assert not outcomes.is_complete(kind, room_type, item.duration_ms, full - 1)
        assert outcomes.is_long_view(kind, item.duration_ms, long)
        assert not outcomes.is_long_view(kind, item.duration_ms, long - 1)


def test_a_room_that_is_over_gets_nothing_but_the_impression(world: World) -> None:
    rooms = [item_id for item_id in world.cast.item_ids if item_id.startswith("room-")]
    over = world.cast.goods.until_ms[world.cast.item_rows[rooms[0]]]
    assert [e.action for _, e in world.respond("u1", rooms[:1], int(over))] == ["impression"]
    expected = world.expected("u1", rooms[:1], int(over))
    assert {name for name, p in expected.items() if p[0] > 0} == {"impression"}


def test_what_is_out_of_stock_is_not_sold_and_comes_back(world: World) -> None:
    table = world.room_records(world.start_ms, world.end_ms + c.DAY_MS)
    told = table.filter(pc.equal(table["type"], "item"))
    records = _items_of(told)
    gone = next(item for item in records if item.stock == 0)
    back = next(item for item in records if item.item_id == gone.item_id and item.ts_ms > gone.ts_ms and item.stock > 0)
    for now_ms, sells in ((gone.ts_ms - 1, True), (gone.ts_ms, False), (back.ts_ms - 1, False), (back.ts_ms, True)):
        expected = world.expected("u1", [gone.item_id], now_ms)
        assert (expected["order"][0] > 0) == sells
        assert expected["click"][0] > 0


def _items_of(table: pa.Table) -> list[Item]:
    placed = table.add_column(0, "offset", pa.array(range(len(table)), pa.int64())).combine_chunks()
    found = [row.record for batch in placed.to_batches() for row in from_batch(batch)]
    return [record for record in found if isinstance(record, Item)]


def test_the_campaign_doubles_traffic_and_sells_more(world: World, events: list[Event]) -> None:
    days = [world.start_ms + day * c.DAY_MS for day in range(4)]
    visits = [len(world.visits(a, b).user_id) for a, b in pairwise(days)]
    assert visits[2] > 1.6 * visits[1]
    shown, ordered = Counter[int](), Counter[int]()
    for event in events:
        day = (event.ts_ms - world.start_ms) // c.DAY_MS
        shown[day] += event.action == "impression"
        ordered[day] += event.action == "order"
    assert ordered[2] / shown[2] > 1.4 * (ordered[0] + ordered[1]) / (shown[0] + shown[1])
    eve, sale = (world.room_records(ts_ms, ts_ms + 1) for ts_ms in (days[2] - 1, days[2]))
    assert len(sale) > len(eve)
    assert sum("618" in item.title for item in _items_of(sale)) > 100


def test_evenings_are_busier_than_nights(world: World) -> None:
    hours = (world.visits(world.start_ms, world.end_ms).time_ms - world.start_ms) // c.HOUR_MS % 24
    by_hour = np.bincount(hours, minlength=24)
    assert by_hour[20:23].sum() > 5 * by_hour[2:5].sum()


def test_new_items_come_every_day_and_titles_are_chinese(world: World) -> None:
    for day in range(world.cast.size.days):
        since_ms = world.start_ms + day * c.DAY_MS
        kinds = Counter(str(item.kind) for item in _items_of(world.room_records(since_ms, since_ms + c.DAY_MS)))
        assert kinds["video"] > 100
        assert kinds["room"] > 20
        assert kinds["product"] > 5
    titles = [item.title for item in _items_of(world.catalog().filter(pc.equal(world.catalog()["type"], "item")))]
    assert all(any("\u4e00" <= letter <= "\u9fff" for letter in title) for title in titles)


def test_followings_are_heavy_tailed_and_merchants_open_most_rooms() -> None:
    cast = World.create(3, Size(users=2_000, hosts=600, videos=100, products=1_200, days=3)).cast
    rooms = cast.goods.host[cast.goods.kind == outcomes.ROOM]
    assert (cast.hosts.type[rooms] == 0).mean() == pytest.approx(0.93, abs=0.03)
    follows = cast.truth.people.follows
    followed = np.sort(np.bincount(follows[follows >= 0], minlength=600))[::-1]
    for following in (followed, np.sort(cast.hosts.followers)[::-1]):
        assert following[:30].sum() > 0.3 * following.sum()
        assert following[0] > 20 * max(np.median(following), 1)
    sizes = np.bincount(cast.goods.brand[cast.goods.brand >= 0])
    assert (sizes == 2).sum() > 10
    assert {0, 1} == set(cast.goods.own_shop[cast.goods.kind == outcomes.PRODUCT].tolist())


def test_knowing_people_beats_popularity_beats_chance_on_the_same_luck(world: World, items: dict[str, Item]) -> None:
    weights = {"complete": 8.0, "like": 16.0, "comment": 20.0, "share": 25.0}
    quality, rng = world.cast.truth.things.quality, np.random.default_rng(1)
    visits = world.visits(world.start_ms + 30 * c.HOUR_MS, world.end_ms)
    pages: dict[str, list[float]] = defaultdict(list)
    for user_id, now_ms in list(zip(visits.user_id, visits.time_ms.tolist(), strict=True))[::10]:
        found = [*(f"v{k}" for k in rng.choice(800, 60, replace=False)), *world.alive(now_ms)]
        expected = world.expected(user_id, found, now_ms)
        scores = {
            "oracle": sum((weight * expected[action] for action, weight in weights.items()), np.zeros(len(found))),
            "popularity": quality[[world.cast.item_rows[item_id] for item_id in found]],
            "chance": rng.random(len(found)),
        }
        for policy, score in scores.items():
            page = [found[k] for k in np.argsort(-score)[:10]]
            done = sum(counts_by_kind([e for _, e in world.respond(user_id, page, now_ms)], items).values(), Counter())
            pages[policy].append(sum(weight * done[action] for action, weight in weights.items()))
    gain = {policy: np.array(values) for policy, values in pages.items()}
    for better, worse in (("oracle", "popularity"), ("popularity", "chance")):
        margin = gain[better] - gain[worse]
        assert margin.mean() > 3 * margin.std() / np.sqrt(len(margin))
    assert gain["oracle"].mean() > 1.4 * gain["popularity"].mean()


def test_strangers_are_refused_and_an_empty_page_brings_nothing(world: World) -> None:
    assert world.respond("u1", [], EVENING_MS) == []
    assert world.visits(world.end_ms + c.DAY_MS, world.end_ms + 2 * c.DAY_MS).user_id == []
    with pytest.raises(RequestError, match="nobody"):
        world.respond("nobody", ["v1"], EVENING_MS)
    with pytest.raises(RequestError, match="v999999"):
        world.expected("u1", ["v999999"], EVENING_MS)
    with pytest.raises(RequestError, match="street"):
        world.respond("u1", ["v1"], EVENING_MS, surface="street")
