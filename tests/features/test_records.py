"""Records: what is refused, and that the refusal names the record, the field and the way out."""

import pytest

from features.checks import check
from features.errors import RecordError
from features.records import LATE_MS, Action, Control, Event, Item, Kind, Record, Served, Slot, User, decode, encode
from tests.random_log import START_MS, random_log


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not a record"),
        ('{"type":"event"}', "event_id"),
        ('{"type":"evnt"}', "evnt"),
        ('{"type":"event","event_id":"e","ts_ms":-1,"item_id":"i","action":"like"}', "ts_ms"),
        ('{"type":"event","event_id":"e","ts_ms":1,"item_id":"i","action":"lick"}', "action"),
        ('{"type":"event","event_id":"e","ts_ms":1,"item_id":"i","action":"like","value":-5}', "value"),
        ('{"type":"event","event_id":"e","ts_ms":1,"item_id":"i","action":"like","value":NaN}', "not a record"),
        ('{"type":"event","event_id":"","ts_ms":1,"item_id":"i","action":"like"}', "event_id"),
        ('{"type":"item","item_id":"i","ts_ms":1,"kind":"song"}', "kind"),
        ('{"type":"item","item_id":"i","ts_ms":1,"kind":"video","duration_ms":-1}', "duration_ms"),
        ('{"type":"user","user_id":"u","ts_ms":1,"name":"x"}', "name"),
        ('{"type":"item","item_id":"' + "i" * 129 + '","ts_ms":1,"kind":"video"}', "item_id"),
    ],
)
def test_text_that_is_no_record_is_refused_naming_the_field(text: str, said: str) -> None:
    with pytest.raises(RecordError, match=said):
        decode(text)


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (Event("e7", START_MS + 300_001, "i", Action.LIKE, "u"), "event 'e7': ts_ms is 300 s"),
        (Event("e7", START_MS, "i", Action.LIKE), "event 'e7': user_id is missing"),
        (Event("e7", START_MS, "i", Action.ROOM_END, "u"), "event 'e7': user_id must be empty"),
        (Event("e7", START_MS, "i", Action.ROOM_PIN), "event 'e7': via_item_id is missing"),
        (Control("u7", START_MS, "hide_item"), "control 'u7': target"),
        (Control("u7", START_MS, "clear_history", "i"), "control 'u7': target"),
        (Served("r7", START_MS, 0, "u", slots=(Slot("i"), Slot("i"))), "served 'r7': slots name an item twice"),
        (User("u7", START_MS, attributes={"fans": float("nan")}), "user 'u7': attributes.fans is nan"),
        (Item("i7", START_MS, Kind.VIDEO, attributes={"w": float("inf")}), "item 'i7': attributes.w is inf"),
        (Item("i7", START_MS, Kind.VIDEO, embedding=(float("nan"),)), "item 'i7': embedding"),
    ],
)
def test_a_record_that_cannot_be_true_is_refused_by_name(record: Record, said: str) -> None:
    with pytest.raises(RecordError, match=said):
        check(record, START_MS)


def test_a_clock_five_minutes_ahead_and_any_clock_behind_are_accepted() -> None:
    check(Event("e", START_MS + 300_000, "i", Action.LIKE, "u"), START_MS)
    check(Event("e", START_MS - LATE_MS, "i", Action.LIKE, "u"), START_MS)
    with pytest.raises(RecordError, match="late"):
        check(Event("e", START_MS - LATE_MS - 1, "i", Action.LIKE, "u"), START_MS)
    check(Event("e", 0, "i", Action.ROOM_END), START_MS)


def test_every_record_survives_json() -> None:
    for one in random_log(1, 300).stored:
        assert decode(encode(one.record)) == one.record
