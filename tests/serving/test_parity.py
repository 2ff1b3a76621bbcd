"""Parity: whatever a server answered, under load and over a crash, replay computes again to the last bit."""

import random
import threading
import time
from pathlib import Path

import httpx
import msgspec
import numpy as np

from features.live import HomeLog
from features.reader import Reader
from features.records import Context
from features.replay import Moment, Readers, read_moments
from features.types import FloatArray
from ranking.bundle import current, load
from ranking.types import Feed
from tests.serving.conftest import served

ACTIONS = ("impression", "click", "watch", "like", "order", "hide")


def send_events(address: str, seed: int, batches: int) -> None:
    """What a careless client sends: late events, the same one twice, a clock that leaps ahead."""
    draw = random.Random(seed)
    with httpx.Client(base_url=address) as client:
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


def ask_pages(address: str, seed: int, pages: int, into: list[Feed]) -> None:
    draw = random.Random(seed)
    with httpx.Client(base_url=address) as client:
        for _ in range(pages):
            user = draw.choice(["u1", "u2", "u3", "stranger", ""])
            answer = client.post("/v1/feed", json={"user_id": user, "count": 10, "device": "phone", "explain": True})
            assert answer.status_code == 200, answer.text
            into.append(msgspec.json.decode(answer.content, type=Feed))


def under_load(address: str, seed: int, pages: list[Feed]) -> None:
    senders = [threading.Thread(target=send_events, args=(address, seed + i, 15)) for i in range(2)]
    askers = [threading.Thread(target=ask_pages, args=(address, seed + i, 25, pages)) for i in range(2)]
    for thread in senders + askers:
        thread.start()
    for thread in senders + askers:
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
