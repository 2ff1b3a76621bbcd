"""What the contract shows of each operation: a request that a server takes, and what it answers."""

from collections.abc import Mapping
from typing import NamedTuple

TS_MS = 1_728_000_000_000
EVENTS = [
    {"event_id": "a-1", "ts_ms": TS_MS, "user_id": "u1", "item_id": "i1", "action": "impression"},
    {"event_id": "a-2", "ts_ms": TS_MS, "user_id": "u1", "item_id": "i1", "action": "watch", "value": 12_500},
]
CONTROLS = [
    {"type": "control", "user_id": "u1", "ts_ms": TS_MS, "command": "hide_author", "target": "a3"},
    {"type": "control", "user_id": "u1", "ts_ms": TS_MS, "command": "personalisation_off"},
    {"type": "control", "user_id": "u1", "ts_ms": TS_MS, "command": "clear_history"},
]
ROOM = [
    {"event_id": "r-1-start", "ts_ms": TS_MS, "item_id": "i4", "action": "room_start"},
    {"event_id": "r-1-1", "ts_ms": TS_MS, "item_id": "i4", "action": "room_pulse", "value": 120},
]
ITEMS = [
    {
        "item_id": "v-new",
        "ts_ms": TS_MS,
        "kind": "video",
        "title": "珍珠怎么选",
        "author_id": "h1",
        "duration_ms": 30_000,
    },
    {"item_id": "p-new", "ts_ms": TS_MS, "kind": "product", "title": "淡水珍珠项链", "price": 19_900, "stock": 40},
]
USERS = [{"user_id": "new", "ts_ms": TS_MS, "age_band": "24-30", "city_tier": "tier2", "history": ["i1", "i2"]}]
ITEM = {
    "item_id": "i1",
    "kind": "product",
    "title": "好货 1",
    "author_id": "a1",
    "category": "c",
    "price": 19_900,
    "value": 1.25,
    "terms": {"complete": 0.75, "like": 0.5},
    "heads": {"complete": 0.31, "like": 0.12},
    "source": "personal",
    "why": "Near to what you liked.",
}
PAGE = {
    "request_id": "2f1c",
    "user_id": "u1",
    "surface": "feed",
    "now_ms": TS_MS,
    "read_offset": 51,
    "bundle": "b-41",
    "policy": "p-7",
    "items": [ITEM],
    "dropped": {"hidden": 2, "no_stock": 1},
    "relaxed": [],
    "level": "full",
    "degraded": "",
    "given_up": {},
}
ACKS = {
    "results": [
        {"status": "accepted", "offset": 51},
        {"status": "duplicate"},
        {"status": "rejected", "error": "record 2: event 'a-3': user_id is missing for like. Name the person."},
    ]
}
ACCOUNT = {
    "request_id": "page",
    "user_id": "u1",
    "context": {"surface": "feed", "position": -1},
    "now_ms": TS_MS,
    "read_offset": 51,
    "bundle": "b-41",
    "policy": "p-7",
    "level": "full",
    "degraded": "",
    "sampled": True,
    "verdict": "equal",
    "notes": [],
    "served": [{"item_id": "i1", "source": "personal"}],
    "page": ["i1"],
    "candidates": [
        {"item_id": "i1", "source": "personal", "place": 0, "reranked": 0, "slot": 0, "value": 1.25},
        {"item_id": "i2", "source": "trending", "dropped": "hidden"},
    ],
}
STATUS = {
    "bundle": "b-41",
    "policy": "p-7",
    "offset": 51,
    "received_ms": TS_MS,
    "users": 1,
    "items": 40,
    "rooms_alive": 10,
    "late_events": 0,
    "repeated_watches": 0,
    "writer": True,
    "indexes": {"room": {"vectors": 10, "bytes": 4096}},
}


class Shown(NamedTuple):
    """Of one operation: bodies by what they show, parameters by name, and an answer."""

    answer: object
    bodies: Mapping[str, object] = {}
    parameters: Mapping[str, object] = {}


EXAMPLES: Mapping[str, Shown] = {
    "feed": Shown(
        PAGE,
        {
            "a page": {"user_id": "u1", "surface": "feed", "count": 20, "device": "ios"},
            "scrolling on": {"user_id": "u1", "count": 20, "seen": ["i1", "i2"], "deadline_ms": 80},
            "rooms, for nobody known": {"surface": "plaza", "explain": True},
        },
    ),
    "rank": Shown(PAGE, {"own candidates": {"user_id": "u1", "item_ids": ["i1", "i2", "nothing"]}}),
    "alive": Shown(
        {"item_ids": ["i1"], "gone": {"i2": "no_stock"}},
        {"a page fetched earlier": {"user_id": "u1", "item_ids": ["i1", "i2"]}},
    ),
    "similar": Shown({"item_id": "i3", "items": [ITEM]}, parameters={"item_id": "i3", "k": 20, "deadline_ms": 200}),
    "why": Shown(ACCOUNT, parameters={"page": "page", "bundle": "current", "far": False}),
    "send_events": Shown(
        ACKS, {"what a person did": EVENTS, "a person's own word": CONTROLS, "a room goes on air": ROOM}
    ),
    "put_items": Shown(ACKS, {"a video and a product": ITEMS}),
    "take_down": Shown({"status": "accepted", "offset": 52}, parameters={"item_id": "i1"}),
    "put_users": Shown(ACKS, {"a person": USERS}),
    "erase": Shown({"status": "accepted", "offset": 53}, parameters={"user_id": "u1"}),
    "health": Shown({"status": "ok"}),
    "ready": Shown({"status": "ok"}),
    "status": Shown(STATUS),
    "metrics": Shown("# HELP huozhao_users People known.\n# TYPE huozhao_users gauge\nhuozhao_users 1.0\n"),
}
"""By the name of the handler; a test sends every request to a server and holds every answer to its schema."""
