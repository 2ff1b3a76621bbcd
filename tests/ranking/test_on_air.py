"""The short list of rooms against a look at every item, whatever rooms live through."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from features.logs.log import DAY_MS, Stored, to_batch
from features.outcomes import ROOM
from features.records import Action, Event, Item, Kind, Record
from features.standard import standard
from features.state import FeatureState
from ranking.candidates.eligibility import alive
from ranking.candidates.on_air import OnAir

NOW = 1_600_000_000_000
TTL = 180_000
LAYOUT = standard({}, {}).layout
ROOM_ACTIONS = (Action.ROOM_START, Action.ROOM_PULSE, Action.ROOM_END)
number = st.integers(0, 7)
moment = st.integers(NOW - 400_000, NOW + 250_000)
event = st.builds(
    lambda n, action, ts_ms: Event("", ts_ms, f"i{n}", action), number, st.sampled_from(ROOM_ACTIONS), moment
)
row = st.builds(
    lambda n, kind, listed: Item(f"i{n}", NOW, kind, listed=listed),
    number,
    st.sampled_from([Kind.ROOM, Kind.ROOM, Kind.PRODUCT, Kind.VIDEO]),
    st.booleans(),
)
lives = st.lists(st.lists(st.one_of(event, row), min_size=1, max_size=12), min_size=1, max_size=6)


def _fold(state: FeatureState, records: list[Record]) -> None:
    start = state.offset
    named = [Event(f"e{start + i}", *_rest(r)) if isinstance(r, Event) else r for i, r in enumerate(records)]
    state.fold(to_batch([Stored(start + i, NOW, record) for i, record in enumerate(named)]))


def _rest(one: Event) -> tuple[int, str, Action]:
    return one.ts_ms, one.item_id, one.action


def _all_on_air(state: FeatureState, now_ms: int) -> list[int]:
    items = state.arrays.items
    return [
        row
        for row in range(len(state.items))
        if items.listed[row]
        and items.categories[row, 4] == ROOM
        and alive(items.times[row, 1], items.ended[row], items.pulse_ms[row], now_ms, TTL)
    ]


@given(lives, st.integers(0, 5), st.lists(moment, min_size=1, max_size=3))
def test_the_list_is_what_a_look_at_every_item_finds(
    batches: list[list[Record]], before: int, moments: list[int]
) -> None:
    state = FeatureState(LAYOUT)
    for batch in batches[:before]:
        _fold(state, batch)
    state.take_changed()
    rooms = OnAir(state, TTL)
    for batch in [[], *batches[before:]]:
        if batch:
            _fold(state, batch)
        pulsed = state.items.find_all([one.item_id for one in batch if isinstance(one, Event)])
        rooms.follow(np.concatenate([state.take_changed(), pulsed]))
        for now_ms in moments:
            expected = _all_on_air(state, now_ms)
            assert np.flatnonzero(rooms.mask(now_ms)).tolist() == expected
            assert rooms.count(now_ms) == len(expected)
            assert len(rooms) >= len(expected)


def test_rooms_that_never_end_are_let_go_and_come_back_with_a_pulse() -> None:
    state = FeatureState(LAYOUT)
    on_air = OnAir(state, TTL)
    most = 0
    for day in range(6):
        names = [f"{day}-{n}" for n in range(100)]
        _receive(state, NOW + day * DAY_MS, [Item(name, NOW, Kind.ROOM) for name in names])
        starts: list[Record] = [Event(name, NOW + day * DAY_MS, name, Action.ROOM_START) for name in names]
        _receive(state, NOW + day * DAY_MS, starts)
        on_air.follow(state.take_changed())
        most = max(most, len(on_air))
    assert most <= 400
    assert on_air.count(NOW + 5 * DAY_MS) == 100
    _receive(state, NOW + 5 * DAY_MS, [Event("back", NOW + 5 * DAY_MS, "0-7", Action.ROOM_PULSE)])
    on_air.follow(state.items.find_all(["0-7"]))
    assert on_air.count(NOW + 5 * DAY_MS) == 101


def _receive(state: FeatureState, at_ms: int, records: list[Record]) -> None:
    state.fold(to_batch([Stored(i, at_ms, record) for i, record in enumerate(records, state.offset)]))
