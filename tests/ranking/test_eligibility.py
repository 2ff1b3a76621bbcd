from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.logs.log import Stored, to_batch
from features.records import Action, Context, Control, Event, Item, Kind, Record
from features.standard import standard
from features.state import FeatureState
from ranking.candidates.eligibility import REASONS, alive, counts, fit_to_show, keep, presentable
from ranking.policy import default
from ranking.types import Query

NOW = 1_600_000_000_000
POLICY = default()
TTL = POLICY.room_ttl_ms
LAYOUT = standard({}, {}).layout


def _state(*records: Record) -> FeatureState:
    state = FeatureState(LAYOUT)
    if records:
        state.fold(to_batch([Stored(offset, NOW, record) for offset, record in enumerate(records)]))
    return state


def _item(item_id: str, kind: Kind, author: str = "", category: str = "", stock: int = -1, listed: bool = True) -> Item:
    return Item(item_id, NOW, kind, author_id=author, category=category, stock=stock, listed=listed)


def _room(action: Action, item_id: str = "room", ts_ms: int = NOW) -> Event:
    return Event(f"{action} {item_id} {ts_ms}", ts_ms, item_id, action)


def _did(action: Action, item_id: str, ts_ms: int = NOW) -> Event:
    return Event(f"{action} {item_id} {ts_ms}", ts_ms, item_id, action, user_id="ann")


def _query(state: FeatureState, surface: str = "feed", now_ms: int = NOW, user: str = "ann") -> Query:
    none = np.zeros(8, np.float32)
    return Query("r", user, state.users.find(user), 0, now_ms, 20, Context(surface), none)


def _reasons(state: FeatureState, names: Sequence[str], surface: str = "feed", now_ms: int = NOW) -> list[str]:
    mask, reasons = keep(state, POLICY, _query(state, surface, now_ms), state.items.find_all(names))
    assert mask.tolist() == (reasons == 0).tolist()
    return [REASONS[code] for code in reasons]


ROOM_RECORDS = (_item("room", Kind.ROOM), _room(Action.ROOM_START))


def test_a_room_that_started_and_pulses_is_shown() -> None:
    assert _reasons(_state(*ROOM_RECORDS), ["room"]) == [""]


def test_a_room_that_ended_is_never_shown_whatever_comes_later() -> None:
    state = _state(*ROOM_RECORDS, _room(Action.ROOM_END), _room(Action.ROOM_PULSE), _room(Action.ROOM_START))
    assert _reasons(state, ["room"]) == ["dead_room"]


def test_a_room_that_never_started_is_not_shown() -> None:
    assert _reasons(_state(_item("room", Kind.ROOM), _room(Action.ROOM_PULSE)), ["room"]) == ["dead_room"]


def test_a_room_dies_when_its_pulse_stops_for_longer_than_the_ttl() -> None:
    state = _state(*ROOM_RECORDS)
    assert _reasons(state, ["room"], now_ms=NOW + TTL) == [""]
    assert _reasons(state, ["room"], now_ms=NOW + TTL + 1) == ["dead_room"]


@given(st.integers(0, 50), st.booleans(), st.integers(0, 50), st.integers(0, 50), st.integers(0, 50))
def test_alive_is_started_not_ended_and_pulsing(start: int, ended: bool, pulse: int, now: int, ttl: int) -> None:
    assert alive(start, ended, pulse, now, ttl) == (start > 0 and not ended and now - pulse <= ttl)


def test_products_without_stock_are_dropped_and_minus_one_is_unlimited() -> None:
    state = _state(*(_item(f"p{stock}", Kind.PRODUCT, stock=stock) for stock in (-1, 0, 1)))
    assert _reasons(state, ["p-1", "p0", "p1"]) == ["", "no_stock", ""]


def test_stock_says_nothing_of_rooms_and_videos() -> None:
    state = _state(_item("room", Kind.ROOM, stock=0), _room(Action.ROOM_START), _item("v", Kind.VIDEO, stock=0))
    assert _reasons(state, ["room", "v"]) == ["", ""]


def test_what_was_taken_down_or_never_described_is_unlisted() -> None:
    state = _state(_item("v", Kind.VIDEO), _item("v", Kind.VIDEO, listed=False), _did(Action.CLICK, "unheard"))
    assert _reasons(state, ["v", "unheard", "unknown"]) == ["unlisted"] * 3


@pytest.mark.parametrize(
    ("surface", "expected"),
    [("feed", ["", "", ""]), ("plaza", ["", "kind", "kind"]), ("mall", ["kind", "", "kind"]), ("tab1", ["", "", ""])],
)
def test_a_surface_shows_its_kinds(surface: str, expected: list[str]) -> None:
    state = _state(*ROOM_RECORDS, _item("p", Kind.PRODUCT), _item("v", Kind.VIDEO))
    assert _reasons(state, ["room", "p", "v"], surface) == expected


@pytest.mark.parametrize(
    ("hide", "gone"),
    [
        (Control("ann", NOW, "hide_item", "a"), {"a"}),
        (Control("ann", NOW, "hide_author", "li"), {"a", "b"}),
        (Control("ann", NOW, "hide_category", "tea"), {"b", "c"}),
        (_did(Action.HIDE, "c"), {"c"}),
    ],
)
def test_what_a_person_hid_is_hidden_from_that_person_alone(hide: Record, gone: set[str]) -> None:
    state = _state(
        _item("a", Kind.VIDEO, "li", "cups"), _item("b", Kind.VIDEO, "li", "tea"), _item("c", Kind.VIDEO, "wu", "tea"),
        hide, Control("ann", NOW, "personalisation_off"), Control("bob", NOW, "personalisation_on"),
    )  # fmt: skip
    names = ["a", "b", "c"]
    assert _reasons(state, names) == ["hidden" if name in gone else "" for name in names]
    assert keep(state, POLICY, _query(state, user="bob"), state.items.find_all(names))[0].all()


def test_the_last_check_finds_what_has_gone_since() -> None:
    names = ["room", "p", "v"]
    catalog = (*ROOM_RECORDS, _item("p", Kind.PRODUCT, stock=1), _item("v", Kind.VIDEO))
    state = _state(*catalog)
    assert fit_to_show(state, POLICY, state.items.find_all(names), NOW).all()
    gone = (_room(Action.ROOM_END), _item("p", Kind.PRODUCT, stock=0), _item("v", Kind.VIDEO, listed=False))
    later = _state(*catalog, *gone)
    assert not fit_to_show(later, POLICY, later.items.find_all(names), NOW).any()
    assert not presentable(later, later.items.find_all(names)).any()


def test_presentable_does_not_ask_the_time() -> None:
    state = _state(_item("room", Kind.ROOM), _item("p", Kind.PRODUCT))
    assert presentable(state, state.items.find_all(["room", "p"])).all()


def test_reasons_are_counted_by_name() -> None:
    assert counts(np.array([0, 5, 5, 1, 0], np.uint8)) == {"unlisted": 1, "hidden": 2}
    assert counts(np.zeros(0, np.uint8)) == {}


def test_no_candidates_are_judged_without_a_word() -> None:
    mask, reasons = keep(_state(), POLICY, _query(_state()), np.zeros(0, np.int32))
    assert len(mask) == len(reasons) == 0
