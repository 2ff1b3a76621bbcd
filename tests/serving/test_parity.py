"""Parity: whatever a server answered, under load and over a crash, replay computes again to the last bit."""

import random
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np

from features.logs.live import HomeLog
from features.pages import Moment
from features.reader import Reader
from features.records import Context
from features.replay import Readers, read_moments
from features.types import FloatArray
from ranking.api import Feed
from ranking.bundles.bundle import load
from ranking.bundles.pointer import current
from tests.serving.conftest import served

PATIENT = {"explain": True, "deadline_ms": 60_000}
ACTIONS = ("impression", "click", "watch", "like", "order", "hide")


def send_events(address: str, seed: int, batches: int) -> None:
    """What a careless client sends: late events, the same one twice, a clock that leaps ahead."""
    draw = random.Random(seed)
    with httpx.Client(base_url=address, timeout=60) as client:
        for batch in range(batches):
            now_ms = time.time_ns() // 1_000_000
            events = [
                {
                    "event_id": f"{seed}-{batch}-{draw.randrange(20)}",
                    "ts_ms": now_ms - draw.choice([0, 0, 0, 3_000, 90_000_000, -3_600_000]),
                    "item_id": f"i{draw.randrange(40)}",
                    "action": draw.choice(ACTIONS[:5] if draw.random() < 0.97 else ACTIONS),
                    "user_id": f"u{draw.randrange(6)}",
                    "value": draw.randrange(100_000),
                    "request_id": draw.choice(["", "r1", "r2"]),
                }
                for _ in range(25)
            ]
            answer = client.post("/v1/events", json=events)
            assert answer.status_code == 200, answer.text


def change_the_world(address: str, seed: int, batches: int) -> None:
    """New items and people, old ones that change, and people who hide, forget, and want no page of their own."""
    draw = random.Random(seed)
    commands = ("personalisation_off", "personalisation_on", "clear_history", "hide_item", "hide_author")
    with httpx.Client(base_url=address, timeout=60) as client:
        for batch in range(batches):
            now_ms = time.time_ns() // 1_000_000
            items: list[dict[str, Any]] = [
                {
                    "item_id": f"i{draw.randrange(60)}",
                    "ts_ms": now_ms,
                    "kind": draw.choice(["video", "video", "product"]),
                    "title": f"好货 {seed} {batch}",
                    "author_id": f"a{draw.randrange(20)}",
                    "category": draw.choice(["c", "new"]),
                    "price": draw.randrange(1000),
                    "live_from_ms": now_ms - draw.randrange(100_000_000),
                    "listed": draw.random() < 0.9,
                }
                for _ in range(4)
            ]
            person = {
                "user_id": f"u{draw.randrange(8)}",
                "ts_ms": now_ms,
                "gender": draw.choice("fm"),
                "history": [f"i{draw.randrange(60)}"],
            }
            command = draw.choice(commands)
            target = f"{command[5]}{draw.randrange(20)}" if command.startswith("hide") else ""
            wish = {"user_id": f"u{draw.randrange(6)}", "ts_ms": now_ms, "command": command, "target": target}
            requests: list[tuple[str, str, Any]] = [
                ("PUT", "/v1/items", items),
                ("PUT", "/v1/users", [person]),
                ("POST", "/v1/events", [wish | {"type": "control"}]),
            ]
            for method, path, records in requests:
                answer = client.request(method, path, json=records)
                assert {one["status"] for one in answer.json()["results"]} == {"accepted"}, answer.text
            taken = client.delete("/v1/items", params={"item_id": items[0]["item_id"]})
            assert taken.status_code == 200, taken.text


def ask_pages(address: str, seed: int, pages: int, into: list[Feed]) -> None:
    draw = random.Random(seed)
    with httpx.Client(base_url=address, timeout=60) as client:
        for _ in range(pages):
            user = draw.choice(["u1", "u2", "u3", "stranger", ""])
            answer = client.post("/v1/feed", json={"user_id": user, "count": 10, "device": "phone"} | PATIENT)
            assert answer.status_code == 200, answer.text
            into.append(msgspec.json.decode(answer.content, type=Feed))
            # The world shall change between pages: they are answered faster than it does.
            time.sleep(0.04 * draw.random())


def under_load(address: str, seed: int, pages: list[Feed]) -> None:
    senders = [threading.Thread(target=send_events, args=(address, seed + i, 15)) for i in range(2)]
    askers = [threading.Thread(target=ask_pages, args=(address, seed + i, 25, pages)) for i in range(2)]
    changer = threading.Thread(target=change_the_world, args=(address, seed, 10))
    threads = [*senders, *askers, changer]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def replayed(home: Path, pages: list[Feed]) -> list[FloatArray]:
    bundle = load(current(home / "bundles"))
    reader = Reader(bundle.feature_set, bundle.codes, bundle.factors)
    moments = [
        Moment(p.read_offset, p.now_ms, p.user_id, [i.item_id for i in p.items], Context(p.surface, "phone", "", 0))
        for p in pages
    ]
    with HomeLog(home / "log", writer=False) as log:
        return list(read_moments(log, Readers.always(reader), moments))


def test_every_answered_row_is_recomputed_by_replay_bit_for_bit_over_load_a_kill_and_a_restart(home: Path) -> None:
    pages: list[Feed] = []
    with served(home) as (process, address):
        under_load(address, 10, pages)
        process.kill()
        process.wait()
    with served(home) as (process, address):
        under_load(address, 20, pages)
        process.terminate()
        process.wait(timeout=30)
    pages.sort(key=lambda page: page.read_offset)
    assert len(pages) == 100
    assert len({page.read_offset for page in pages}) > 20
    known = 0
    for page, rows in zip(pages, replayed(home, pages), strict=True):
        for item, row in zip(page.items, rows, strict=True):
            answered = np.array([np.nan if x is None else x for x in item.features.values()], np.float32)
            assert answered.tobytes() == row.tobytes(), (page.request_id, item.item_id)
            known += item.features["cosine(user.factors,item.factors)"] is not None
    assert known > 100
