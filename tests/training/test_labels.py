"""Labels: which outcomes belong to which impression, and from when an impression counts."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from features.history import History, read_history, slates_of
from features.logs.log import Stored
from features.outcomes import KIND_CODES, ROOM_TYPE_CODES, is_complete, is_long_view
from features.records import Action, Event, Item, Kind, Record
from tests.random_log import START_MS, MemoryLog, random_log
from training.learning.labels import CREDIT_VIA, HEADS, HOUR_MS, WINDOWS_MS, Labels, label

MINUTE = 60_000
VIDEO = Item("v", START_MS, Kind.VIDEO, duration_ms=20_000)
ROOM = Item("r", START_MS, Kind.ROOM, room_type="kol")
PRODUCT = Item("p", START_MS, Kind.PRODUCT)


def act(action: Action, minute: float, item: str = "v", request: str = "", via: str = "", value: int = 0) -> Event:
    ts_ms = int(START_MS + minute * MINUTE)
    return Event(f"{action}{minute}{item}{request}", ts_ms, item, action, "u", via, value, request)


def history_of(*records: Record) -> History:
    stored = [VIDEO, ROOM, PRODUCT, *records]
    return read_history(MemoryLog([Stored(i, record.ts_ms, record) for i, record in enumerate(stored)]))


def labelled(*records: Record) -> Labels:
    history = history_of(*records)
    return label(history, slates_of(history))


def test_an_outcome_belongs_to_the_impression_of_its_request() -> None:
    shown = [act(Action.IMPRESSION, 0, request="a"), act(Action.IMPRESSION, 1, request="b")]
    labels = labelled(*shown, act(Action.CLICK, 2, request="a"))
    assert labels.of("click").tolist() == [True, False]


def test_without_a_request_an_outcome_belongs_to_the_latest_impression_before_it() -> None:
    shown = [act(Action.IMPRESSION, minute) for minute in (0, 5, 10)]
    labels = labelled(shown[0], shown[1], act(Action.LIKE, 5), act(Action.CLICK, 9), shown[2])
    assert labels.of("like").tolist() == [False, True, False]
    assert labels.of("click").tolist() == [False, True, False]


def test_an_outcome_after_the_window_does_not_count() -> None:
    shown = act(Action.IMPRESSION, 0)
    assert labelled(shown, act(Action.CLICK, 60)).of("click").tolist() == [True]
    assert labelled(shown, act(Action.CLICK, 61)).of("click").tolist() == [False]
    assert labelled(shown, act(Action.ORDER, 61)).of("order").tolist() == [True]


def test_an_impression_counts_for_a_head_once_the_window_of_its_whole_slate_has_closed() -> None:
    labels = labelled(act(Action.IMPRESSION, 0), act(Action.IMPRESSION, 20, "r"))
    closes = START_MS + 20 * MINUTE + HOUR_MS
    assert labels.mature("click", closes).tolist() == [True, True]
    assert labels.mature("click", closes - 1).tolist() == [False, False]
    assert not labels.mature("order", closes).any()


def test_an_order_in_a_room_counts_for_the_product_and_the_room_and_a_hide_does_not() -> None:
    shown = [act(Action.IMPRESSION, 0, "r"), act(Action.IMPRESSION, 1, "p")]
    labels = labelled(*shown, act(Action.ORDER, 2, "p", via="r"), act(Action.HIDE, 3, "p", via="r"))
    assert labels.of("order").tolist() == [True, True]
    assert labels.of("hide").tolist() == [False, True]


def test_complete_and_long_view_come_from_the_first_watch_of_the_request() -> None:
    shown = act(Action.IMPRESSION, 0, request="a")
    short = act(Action.WATCH, 1, request="a", value=1_000)
    whole = act(Action.WATCH, 2, request="a", value=25_000)
    assert labelled(shown, short, whole).of("complete").tolist() == [False]
    labels = labelled(shown, whole, short)
    assert labels.of("complete").tolist() == labels.of("long_view").tolist() == [True]


def test_what_a_watch_was_goes_by_the_row_of_its_moment() -> None:
    shown, watch = act(Action.IMPRESSION, 0), act(Action.WATCH, 1, value=10_000)
    longer, shorter = (Item("v", watch.ts_ms, Kind.VIDEO, duration_ms=ms) for ms in (20_000, 5_000))
    assert labelled(shown, watch, shorter).of("complete").tolist() == [False]
    assert labelled(shown, shorter, watch, longer).of("complete").tolist() == [True]


def test_an_item_is_of_the_kind_that_was_known_at_the_slates_moment() -> None:
    early = act(Action.IMPRESSION, 0, "w", "a"), act(Action.CLICK, 1, "w", "a")
    labels = labelled(*early, Item("w", START_MS + MINUTE, Kind.PRODUCT), act(Action.IMPRESSION, 2, "w", "b"))
    assert labels.kind.tolist() == [0, KIND_CODES["product"]]


def one_by_one(history: History) -> set[tuple[int, str]]:
    """The offsets of positive impressions and their heads, as the rule reads, event by event."""
    events, found, watched = history.events, set(), set()
    rows = range(len(events))

    def same(i: int, j: int, item: int) -> bool:
        alike = events.user[i] == events.user[j] and events.item[j] == item
        asked = int(events.request[i])
        return alike and events.action[j] == 0 and (asked == 0 or events.request[j] == asked)

    for i in rows:
        action, name, at = [*Action][events.action[i]], history.items[events.item[i]], events.offset[i]
        item = {v.row.item_id: v.row for v in history.catalog_log if v.offset < at}.get(name)
        heads = [str(action)] if str(action) in HEADS else []
        if action is Action.WATCH:
            key = (events.user[i], events.item[i], events.request[i])
            if events.request[i] and key in watched:
                continue
            watched.add(key)
            kind, room = (KIND_CODES[item.kind], ROOM_TYPE_CODES[item.room_type]) if item else (0, 0)
            duration = item.duration_ms if item else 0
            heads = ["long_view"] * is_long_view(kind, duration, int(events.value[i]))
            heads += ["complete"] * is_complete(kind, room, duration, int(events.value[i]))
        for head in heads:
            for credited in {int(events.item[i])} | ({int(events.via[i])} - {0} if head in CREDIT_VIA else set()):
                before = [j for j in rows if same(i, j, credited) and events.ts_ms[j] <= events.ts_ms[i]]
                if not before:
                    continue
                j = max(before, key=lambda j: (events.ts_ms[j], j))
                if events.received_ms[i] - events.received_ms[j] <= WINDOWS_MS[head]:
                    found.add((int(events.offset[j]), head))
    return found


@given(st.integers(0, 2**20))
def test_labels_are_those_of_the_rule_read_event_by_event(seed: int) -> None:
    history = read_history(random_log(seed, 120, users=3, items=6))
    slates = slates_of(history)
    labels = label(history, slates)
    offsets = history.events.offset[slates.event]
    rows, columns = np.nonzero(labels.y)
    assert {(int(offsets[i]), HEADS[j]) for i, j in zip(rows, columns, strict=True)} == one_by_one(history)


def test_a_history_without_events_has_no_labels() -> None:
    history = history_of()
    labels = label(history, slates_of(history))
    assert labels.y.shape == (0, len(HEADS))
    assert len(labels.mature("click", 0)) == 0
