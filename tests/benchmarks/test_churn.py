"""The world that changes under load: rooms are on air because they say so, and only those that ended are gone."""

import msgspec
import numpy as np

from benchmarks.churn import World
from benchmarks.load import Ask
from features.logs.log import DAY_MS
from features.records import Action, Event

NOW_MS = 20_000 * DAY_MS
SECONDS = 200
TTL_MS = 180_000


def events(asks: list[Ask]) -> list[Event]:
    bodies = [ask.wire.partition(b"\r\n\r\n")[2] for ask in asks if b"POST /v1/events" in ask.wire]
    return [event for body in bodies for event in msgspec.json.decode(body, type=list[Event])]


def test_every_room_that_began_and_did_not_end_is_heard_of_to_the_end() -> None:
    there = [f"i{n}" for n in range(1_000)]
    asks, _ = World(NOW_MS, ["u1"], there, pulse=True).mix(np.arange(10.0), SECONDS)
    heard, ended = dict.fromkeys(there, NOW_MS), set[str]()
    for event in events(asks):
        if event.action is Action.ROOM_END:
            ended.add(event.item_id)
        elif event.action in (Action.ROOM_START, Action.ROOM_PULSE):
            assert event.item_id not in ended
            heard[event.item_id] = max(heard.get(event.item_id, 0), event.ts_ms)
    on_air = heard.keys() - ended
    assert len(ended) == len(on_air - set(there)) == 4 * SECONDS
    end_ms = max(heard.values())
    assert all(end_ms - heard[name] <= TTL_MS / 2 for name in on_air)


def test_no_event_is_sent_twice_whatever_is_run_one_after_the_other() -> None:
    world = World(NOW_MS, ["u1"], ["i1"], pulse=True)
    names = [event.event_id for _ in range(2) for event in events(world.mix(np.arange(20.0), 70)[0])]
    assert len(names) == len(set(names))
