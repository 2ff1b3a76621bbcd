"""The fold: counters are what a sum over the log says, however the log is cut, and nothing leaks backwards."""

import math
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.columns import Age, Count, Recency, is_category
from features.factors import NAMED, TASTE_DIMS, Factors, Tastes
from features.fold.arrays import PAIR_ENTRIES
from features.fold.counters import exp2_neg
from features.fold.storage import leaves
from features.grams import BUCKETS
from features.ids import Ids
from features.logs.log import Stored, to_batch
from features.outcomes import is_complete, is_long_view
from features.pages import Moment
from features.reader import Codes, Reader
from features.records import LATE_MS, Action, Context, Control, Erase, Event, Item, Kind, User
from features.replay import Readers, read_moments
from features.schema import FeatureSet
from features.standard import standard
from features.state import FeatureState
from features.types import FloatArray
from tests.random_log import START_MS, MemoryLog, random_log

STANDARD = standard({"music": str, "width": float}, {"level": str})
DAY_MS = 86_400_000


def some_factors(seed: int = 0, dims: int = 8) -> Factors:
    rng = np.random.default_rng(seed)

    def matrix(rows: int) -> FloatArray:
        return rng.normal(size=(rows, dims)).astype(np.float32)

    names = [tuple(f"{letter}{i}" for i in range(20)) for letter in "iac"]
    found = Factors(Ids(names[0]), matrix(20), names[1], matrix(20), names[2], matrix(20), matrix(BUCKETS))
    return found if dims == TASTE_DIMS else replace(found, tastes=some_tastes(seed))


def some_tastes(seed: int) -> Tastes:
    rng = np.random.default_rng(seed)
    of_items = replace(some_factors(seed, TASTE_DIMS), carts=False)
    known = (of_items.author_ids, of_items.category_ids, ("20-24",), ("f", "m"), ("1",))
    names = dict(zip(NAMED, known, strict=True))
    vectors = {name: rng.normal(size=(len(one), TASTE_DIMS)).astype(np.float32) for name, one in names.items()}
    return Tastes(of_items, names, vectors, np.full(TASTE_DIMS, 4, np.float32))


def reader_of(feature_set: FeatureSet) -> Reader:
    values = ("feed", "phone", "i1", "a1", "c1", "c2", "video", "room", "t1", "x", "20-24", "f", "1", "b1")
    codes = Codes({column.name: values for column in feature_set.columns if is_category(column)})
    return Reader(feature_set, codes, some_factors())


def folded(log: MemoryLog, feature_set: FeatureSet = STANDARD) -> FeatureState:
    state = FeatureState(feature_set.layout)
    for batch in log.read():
        state.fold(batch)
    return state


def rows_at(log: MemoryLog, moments: list[Moment], feature_set: FeatureSet = STANDARD) -> list[FloatArray]:
    return [rows.copy() for rows in read_moments(log, Readers.always(reader_of(feature_set)), moments)]


def served_at(log: MemoryLog, moments: list[Moment]) -> list[FloatArray]:
    """As a server reads: one record at a time, all that changed taken in after each."""
    state, reader, served = FeatureState(STANDARD.layout), reader_of(STANDARD), []
    for moment in moments:
        while state.offset < moment.read_offset:
            state.fold(to_batch([log.stored[state.offset]]))
            reader.catch_up(state, state.take_changed())
        user = state.users.find(moment.user_id)
        person = user if state.arrays.users.personalised[user] else 0
        served.append(reader.rows(state, person, state.items.find_all(moment.item_ids), moment.now_ms, moment.context))
    return served


def some_moments(log: MemoryLog, seed: int, users: int = 9, items: int = 62) -> list[Moment]:
    rng = np.random.default_rng(seed)
    moments = []
    for offset in sorted(rng.integers(60, log.end(), 12).tolist()):
        wanted = [f"i{i}" for i in rng.integers(0, items, 6)]
        now_ms = log.stored[offset].received_ms + int(rng.integers(0, 10_000))
        moments.append(Moment(offset, now_ms, f"u{rng.integers(users)}", wanted, Context("feed", "phone", position=0)))
    return moments


def test_exp2_is_right_to_the_last_digits_and_never_rises() -> None:
    grid = np.concatenate([np.linspace(0, 60, 20_001), np.linspace(60, 1100, 2_001)])
    values = np.array([exp2_neg(float(x)) for x in grid])
    assert values[0] == 1.0
    assert (np.diff(values) <= 0).all()
    assert np.allclose(values, np.exp2(-grid), rtol=4e-15, atol=1e-300)


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_counters_are_the_decayed_sums_of_the_log(seed: int) -> None:
    feature_set = FeatureSet(
        (
            Count("user", "click", "1h"),
            Count("item", "impression", "1d"),
            Count("item", "complete", "7d"),
            Count("author", "watch", "7d"),
            Recency("item", "like"),
        )
    )
    log = random_log(seed, 150)
    # People and a catalog that stay as they are, so that the sums can be written down.
    events = [one for one in log.stored if isinstance(one.record, Item | User | Event)][:200]
    first = {one.record.item_id: one for one in reversed(events) if isinstance(one.record, Item)}
    kept = [one for one in events if not isinstance(one.record, Item) or first[one.record.item_id] is one]
    log = MemoryLog([Stored(i, one.received_ms, one.record) for i, one in enumerate(kept)])
    now_ms = kept[-1].received_ms
    ids = [f"i{i}" for i in range(60)]
    (rows,) = rows_at(log, [Moment(log.end(), now_ms, "u1", ids, Context())], feature_set)

    catalog: dict[str, Item] = {}
    expected = np.zeros((60, 5))
    expected[:, 4] = np.nan
    watched: set[tuple[str, str, str]] = set()
    watches: defaultdict[str, float] = defaultdict(float)
    for one in kept:
        record = one.record
        if isinstance(record, Item):
            catalog[record.item_id] = record
        if not isinstance(record, Event) or not record.user_id or one.received_ms - record.ts_ms > LATE_MS:
            continue
        item, via = catalog.get(record.item_id), catalog.get(record.via_item_id)
        finished = False
        if record.action is Action.WATCH:
            key = (record.user_id, record.item_id, record.request_id)
            if record.request_id and key in watched:
                continue
            watched.add(key)
            kind = {Kind.ROOM: 1, Kind.PRODUCT: 2, Kind.VIDEO: 3}[item.kind] if item else 0
            finished = is_complete(kind, 0, item.duration_ms if item else 0, record.value)
        age = now_ms - record.ts_ms
        touched = {record.item_id, record.via_item_id} - {""}
        authors = {i.author_id for i in (item, via) if i}
        for author in authors if record.action is Action.WATCH else ():
            watches[author] += 2 ** (-age / (7 * DAY_MS))
        for i, name in enumerate(ids):
            if record.user_id == "u1" and record.action is Action.CLICK:
                expected[i, 0] += 2 ** (-age / 3_600_000)
            hits = (name == record.item_id) + (name == record.via_item_id)
            if name in touched and record.action is Action.IMPRESSION:
                expected[i, 1] += hits * 2 ** (-age / DAY_MS)
            if name in touched and finished:
                expected[i, 2] += hits * 2 ** (-age / (7 * DAY_MS))
            if name in catalog and catalog[name].author_id in authors and record.action is Action.WATCH:
                expected[i, 3] += 2 ** (-age / (7 * DAY_MS))
            if name in touched and record.action is Action.LIKE:
                expected[i, 4] = np.nanmin([expected[i, 4], max(age, 0) / 1000])
    expected[:, 3] = [watches[catalog[name].author_id] if name in catalog else 0.0 for name in ids]
    bad = ~np.isclose(rows, expected, rtol=2e-4, atol=1e-5, equal_nan=True)
    assert not bad.any(), (np.argwhere(bad)[:5], rows[bad][:5], expected[bad][:5])


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(1, 200))
def test_the_state_does_not_depend_on_how_the_log_is_cut(seed: int, batch: int) -> None:
    whole, cut = random_log(seed, 150, batch=10_000), random_log(seed, 150, batch=batch)
    one, other = folded(whole), folded(cut)
    assert one.users.names == other.users.names
    assert one.items.names == other.items.names
    assert one.hidden == other.hidden
    assert one.ignored.tolist() == other.ignored.tolist()
    for a, b in zip(leaves(one.arrays), leaves(other.arrays), strict=True):
        rows = min(len(a), len(b))
        assert np.array_equal(a[:rows], b[:rows], equal_nan=a.dtype.kind == "f")


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(1, 200))
def test_serving_one_record_at_a_time_reads_what_replay_reads_bit_for_bit(seed: int, batch: int) -> None:
    log = random_log(seed, 200, batch=batch)
    moments = some_moments(log, seed)
    for live, replayed in zip(served_at(log, moments), rows_at(log, moments), strict=True):
        assert live.tobytes() == replayed.tobytes()


def test_a_new_author_tells_of_a_taste_before_anybody_asks_for_the_item() -> None:
    log = log_of(
        video("i0", "a0"),
        event(0, "i0", Action.IMPRESSION),
        event(1, "i0", Action.CLICK),
        video("i1", "a1"),
        event(2, "i1", Action.IMPRESSION),
        event(3, "i1", Action.CLICK, user_id="other"),
    )
    moments = [Moment(offset, START_MS + 5, "u", ["i0"], Context("feed")) for offset in (3, 4, 6)]
    before, described, after = rows_at(log, moments)
    for live, replayed in zip(served_at(log, moments), (before, described, after), strict=True):
        assert live.tobytes() == replayed.tobytes()
    taste = STANDARD.names.index("taste@7d")
    assert before[0, taste] == described[0, taste] != after[0, taste]


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_changing_all_that_comes_later_changes_nothing_before_it(seed: int) -> None:
    log, other = random_log(seed, 200), random_log(seed + 1, 200)
    moments = some_moments(log, seed)
    cut = moments[5].read_offset
    altered = MemoryLog(log.stored[:cut] + [Stored(one.offset, *one[1:]) for one in other.stored[cut:]])
    before = [moment for moment in moments if moment.read_offset <= cut]
    for true, changed in zip(rows_at(log, before), rows_at(altered, before), strict=True):
        assert true.tobytes() == changed.tobytes()


def event(
    number: int,
    item: str,
    action: Action,
    after_ms: int = 0,
    user_id: str = "u",
    value: int = 0,
    via_item_id: str = "",
    request_id: str = "",
) -> Stored:
    at = START_MS + after_ms
    return Stored(0, at, Event(f"e{number}", at, item, action, user_id, via_item_id, value, request_id))


def log_of(*stored: Stored) -> MemoryLog:
    return MemoryLog([Stored(i, one.received_ms, one.record) for i, one in enumerate(stored)])


def video(name: str, author: str = "a", duration_ms: int = 10_000) -> Stored:
    item = Item(name, START_MS, Kind.VIDEO, author_id=author, category="c", duration_ms=duration_ms)
    return Stored(0, START_MS, item)


def test_a_second_watch_of_the_same_page_is_ignored_and_counted() -> None:
    watches = [event(i, "v", Action.WATCH, i, value=12_000, request_id="r") for i in range(3)]
    state = folded(log_of(video("v"), *watches))
    slot = STANDARD.layout.slot("item", "complete", "7d")
    assert state.ignored.tolist() == [0, 2]
    assert state.arrays.tables[1].values[state.items.find("v"), slot] == 1.0


def test_an_event_older_than_a_week_is_kept_but_folded_into_nothing() -> None:
    late = Stored(0, START_MS + LATE_MS + 1, Event("e", START_MS, "v", Action.CLICK, "u"))
    state = folded(log_of(video("v"), late))
    assert state.ignored.tolist() == [1, 0]
    assert not state.arrays.tables[0].values.any()


def test_the_author_of_least_decayed_mass_leaves_a_full_row() -> None:
    videos = [video(f"v{i}", f"a{i:02}") for i in range(PAIR_ENTRIES[0] + 1)]
    clicks = [event(i, f"v{i}", Action.CLICK, i * 1000) for i in range(PAIR_ENTRIES[0] + 1)]
    again = event(99, "v0", Action.CLICK, 500)
    state = folded(log_of(*videos, clicks[0], again, *clicks[1:]))
    keys = set(state.arrays.pairs[0].keys[state.users.find("u")].tolist())
    names = {state.columns["author"].names[key] for key in keys}
    assert "a00" in names
    assert "a01" not in names
    assert f"a{PAIR_ENTRIES[0]:02}" in names


def test_an_erased_person_is_as_good_as_unknown() -> None:
    log = log_of(
        video("v"),
        Stored(0, START_MS, User("u", START_MS, "20-24", "f", "1", START_MS - 1, ("v",), {"level": "x"})),
        event(1, "v", Action.LIKE),
        Stored(0, START_MS + 5, Erase("u", START_MS + 5)),
    )
    moments = [Moment(4, START_MS + 10, user, ["v"], Context()) for user in ("u", "nobody")]
    erased, unknown = rows_at(log, moments)
    assert erased.tobytes() == unknown.tobytes()


def test_without_personalisation_two_people_get_the_same_rows() -> None:
    off = [Stored(0, START_MS + 6, Control(u, START_MS + 6, "personalisation_off")) for u in ("u", "w")]
    log = log_of(video("v"), event(1, "v", Action.LIKE), event(2, "v", Action.ORDER, 1, user_id="w"), *off)
    one, other = rows_at(log, [Moment(5, START_MS + 10, user, ["v"], Context()) for user in ("u", "w")])
    assert one.tobytes() == other.tobytes()


def test_what_a_person_hides_is_remembered_by_item_author_and_category() -> None:
    hides = [
        Control("u", START_MS, "hide_item", "v"),
        Control("u", START_MS, "hide_author", "a"),
        Control("u", START_MS, "hide_category", "c"),
    ]
    controls = [Stored(0, START_MS, control) for control in hides]
    state = folded(log_of(video("v"), *controls, event(1, "later", Action.HIDE)))
    hidden = state.hidden[state.users.find("u")]
    assert hidden.items == {state.items.find("v"), state.items.find("later")}
    assert hidden.authors == {state.columns["author"].find("a")}
    assert hidden.categories == {state.columns["category"].find("c")}


def test_the_end_of_a_room_is_final() -> None:
    room = Stored(0, START_MS, Item("r", START_MS, Kind.ROOM))
    steps = [Action.ROOM_START, Action.ROOM_PULSE, Action.ROOM_END, Action.ROOM_START, Action.ROOM_PULSE]
    events = [event(i, "r", action, i, user_id="", value=7) for i, action in enumerate(steps)]
    state = folded(log_of(room, *events))
    row = state.items.find("r")
    assert state.arrays.items.ended[row]
    assert state.arrays.items.times[row, 1] == START_MS


def test_an_order_in_a_room_credits_product_and_room() -> None:
    room = Stored(0, START_MS, Item("r", START_MS, Kind.ROOM, author_id="host"))
    product = Stored(0, START_MS, Item("p", START_MS, Kind.PRODUCT, author_id="maker"))
    state = folded(log_of(room, product, event(1, "p", Action.ORDER, via_item_id="r")))
    slot = STANDARD.layout.slot("item", "order", "7d")
    assert [state.arrays.tables[1].values[state.items.find(i), slot] for i in ("r", "p")] == [1.0, 1.0]
    author_slot = STANDARD.layout.slot("author", "order", "1h")
    hosts = state.columns["author"]
    assert [state.arrays.tables[2].values[hosts.find(a), author_slot] for a in ("host", "maker")] == [1.0, 1.0]


def test_a_persons_row_stays_under_two_kilobytes() -> None:
    arrays = FeatureState(STANDARD.layout).arrays
    of_users = (*arrays.tables[0], *(a for pair in arrays.pairs for a in pair), *arrays.rings, *arrays.users)
    assert sum(array[:1].nbytes for array in of_users) <= 2048


def test_the_age_of_an_item_that_does_not_tell_its_time_is_unknown() -> None:
    log = MemoryLog([Stored(0, START_MS, Item("v", START_MS, Kind.VIDEO))])
    (rows,) = rows_at(log, [Moment(1, START_MS + 1000, "nobody", ["v"], Context())])
    ages = [j for j, column in enumerate(STANDARD.columns) if column == Age("item.live_from_ms")]
    assert len(ages) == 1
    assert np.isnan(rows[0, ages]).all()


def test_an_empty_log_gives_an_empty_state_and_unknown_ids_plain_rows() -> None:
    (rows,) = rows_at(MemoryLog([]), [Moment(0, START_MS, "nobody", ["nothing"], Context())])
    assert rows.shape == (1, len(STANDARD.columns))
    counts = [j for j, column in enumerate(STANDARD.columns) if isinstance(column, Count)]
    assert (rows[0, counts] == 0).all()


@pytest.mark.parametrize(
    ("kind", "duration_ms", "watched_ms", "complete", "long_view"),
    [
        (3, 10_000, 10_000, True, True),
        (3, 10_000, 9_999, False, False),
        (3, 600_000, 60_000, True, True),
        (3, 600_000, 18_000, False, True),
        (3, 0, 90_000, False, False),
        (1, 0, 60_000, True, True),
        (2, 0, 14_999, False, True),
        (0, 10_000, 90_000, False, False),
    ],
)
def test_completion_means_one_thing_a_kind(
    kind: int, duration_ms: int, watched_ms: int, complete: bool, long_view: bool
) -> None:
    assert is_complete(kind, 0, duration_ms, watched_ms) is complete
    assert is_long_view(kind, duration_ms, watched_ms) is long_view


def test_reading_writes_nothing() -> None:
    log = random_log(3, 200)
    state, reader = folded(log), reader_of(STANDARD)
    reader.catch_up(state, state.take_changed())
    before = [array.tobytes() for array in leaves(state.arrays)]
    reader.rows(state, 1, np.arange(1, 20, dtype=np.int32), START_MS * 2, Context())
    assert before == [array.tobytes() for array in leaves(state.arrays)]
    assert math.isfinite(reader.user_vector(state, 1, START_MS).sum())
