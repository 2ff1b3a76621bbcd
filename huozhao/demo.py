"""A world that lives now: built, trained on, printed, and served while its rooms go on."""

import logging
import shutil
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path

import msgspec
import pyarrow as pa

from features.errors import LogError
from features.logs.guards import locked
from features.logs.log import SCHEMA, from_batch
from features.records import Item, Record
from huozhao import home as homes
from huozhao import show
from huozhao.stages import Stages, patiently
from huozhao.times import local_day_ms, wall_ms
from ranking.api import Feed, FeedRequest
from ranking.engine import Engine
from seeds.constants import DAY_MS, Size
from seeds.world import World
from serving import Settings, check_address, serve
from training import Recipe, train

SEED = 618
DAYS_BEFORE = 2
SIZE = Size(users=500, hosts=240, videos=800, products=400, days=DAYS_BEFORE + 2)
"""Today is the world's third day, its campaign; it has one more, so that it can be served beyond midnight."""
PEOPLE, PAGE = 3, 8
BEAT_S, BATCH = 5, 500
OVERLAP_MS = 60_000
"""Rooms repeat what they sent in the last minute: the log knows an event that it has."""

POLICY = """\
# The demonstration's policy: as the default one, but at most half of a page is videos, so that all kinds are seen.
[surfaces.feed]
bounds = [
    { of = "author", at_most = 1, window = 4 },
    { of = "product", at_most = 3, window = 8 },
    { of = "room", at_most = 3, window = 8 },
    { of = "video", at_most = 4, window = 8 },
]
"""

_log = logging.getLogger(__name__)


class Built(msgspec.Struct, frozen=True):
    """Which world was written into a home, and whether all of it was."""

    start_ms: int
    whole: bool


def demo(home: Path, *, once: bool, port: int) -> None:
    """Build the world unless today's is there, print three people's feeds, and serve until stopped.

    Raises
    ------
    SettingsError
        If the port is taken; nothing is built then.
    """
    settings = Settings(home=str(home), port=port)
    if not once:
        check_address(settings)
    world = World.create(SEED, SIZE, local_day_ms(wall_ms()) - DAYS_BEFORE * DAY_MS)
    if _built(home) != Built(world.start_ms, whole=True):
        _build(home, world)
    people = _regulars(world)
    with patiently(homes.opening()):
        engine = Engine.open(home)
    with engine:
        with patiently("catching up with the day"):
            for batch in _sent(world, engine.status(0).received_ms - OVERLAP_MS, wall_ms()):
                engine.append(batch, wall_ms())
        with patiently("making the first pages"):
            pages = [_page(engine, user_id, wall_ms()) for user_id in people]
    for page in pages:
        show.console().print(show.feed_table(page), "")
    if once:
        return
    stopped = threading.Event()
    with ExitStack() as waiting:
        waiting.callback(stopped.set)
        told = waiting.enter_context(ExitStack())
        told.enter_context(patiently(homes.opening()))

        def announce(address: str) -> None:
            told.close()
            _announce(world, address, people[0], stopped)

        serve(settings, announce)


def _page(engine: Engine, user_id: str, now_ms: int) -> Feed:
    return engine.feed(FeedRequest(user_id=user_id, count=PAGE), now_ms, f"demo-{user_id}-{now_ms}")


def _built(home: Path) -> Built | None:
    try:
        return msgspec.json.decode((home / "demo.json").read_bytes(), type=Built)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def _build(home: Path, world: World) -> None:
    if home.exists():
        if not (home / "demo.json").exists():
            raise LogError(f"{home} was not made by the demo.", "Name another with --home: it would be overwritten.")
        if (home / "log").is_dir():
            # Another day's may still be served.
            locked(home / "log").close()
        shutil.rmtree(home)
    home.mkdir(parents=True)
    (home / "demo.json").write_bytes(msgspec.json.encode(Built(world.start_ms, whole=False)))
    (home / "policy.toml").write_text(POLICY, "utf-8")
    now_ms = wall_ms()
    with Stages() as stages:
        homes.fill(home, world.log(now_ms, stages.of("living through two days and a bit")))
        with homes.open_log(home) as log:
            train(log, home / "bundles", Recipe(until_ms=now_ms), now_ms=now_ms, progress=stages)
    (home / "demo.json").write_bytes(msgspec.json.encode(Built(world.start_ms, whole=True)))


def _regulars(world: World) -> list[str]:
    """Who opened most pages in the days before today."""
    visits = world.visits(world.start_ms, world.start_ms + DAYS_BEFORE * DAY_MS)
    return [user_id for user_id, _ in sorted(Counter(visits.user_id).items(), key=lambda n: (-n[1], n[0]))[:PEOPLE]]


def _sent(world: World, since_ms: int, until_ms: int) -> list[list[Record]]:
    """What catalog and rooms send in a time, in order, in batches of one type each."""
    table = world.room_records(max(since_ms, world.start_ms), until_ms)
    placed = table.add_column(0, SCHEMA.field(0), pa.array(range(len(table)), pa.int64()))
    records = [stored.record for batch in placed.to_batches() for stored in from_batch(batch)]
    runs = [list(run) for _, run in groupby(records, type)]
    return [run[at : at + BATCH] for run in runs for at in range(0, len(run), BATCH)]


def _announce(world: World, address: str, user_id: str, stopped: threading.Event) -> None:
    body = msgspec.json.encode({"user_id": user_id, "count": 5}).decode()
    print(f"Serving at {address}; its contract is at {address}/schema. Stop with Ctrl-C. Try:")
    print(f"  curl -s {address}/v1/feed -H 'Content-Type: application/json' -d '{body}'", flush=True)
    threading.Thread(target=_live, args=(world, address, stopped), daemon=True).start()


def _live(world: World, address: str, stopped: threading.Event) -> None:
    """Let the rooms go on: send what they send as any other client would, until the world ends."""
    since_ms = wall_ms() - OVERLAP_MS
    while not stopped.wait(BEAT_S):
        until_ms = wall_ms()
        try:
            for batch in _sent(world, since_ms - OVERLAP_MS, until_ms):
                _send(address, batch)
        except urllib.error.URLError as error:
            _log.warning("The rooms could not send: %s", error)
            continue
        since_ms = until_ms


def _send(address: str, records: Sequence[Record]) -> None:
    path, method = ("items", "PUT") if isinstance(records[0], Item) else ("events", "POST")
    headers = {"Content-Type": "application/json"}
    body = msgspec.json.encode(records)
    request = urllib.request.Request(f"{address}/v1/{path}", body, headers, method=method)  # noqa: S310, ours
    with urllib.request.urlopen(request) as answer:  # noqa: S310, ours
        answer.read()
