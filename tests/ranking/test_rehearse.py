"""What is rehearsed before a server answers: nothing changes by it, and what the log asks for then is compiled."""

from pathlib import Path

from features.fold.counters import fold
from features.records import Action, Event, Item, Kind, Record
from ranking.api import FeedRequest
from ranking.engine import Engine
from ranking.index.chains import _drop
from tests.small_home import NOW


def page(engine: Engine, request_id: str) -> list[tuple[str, float]]:
    found = engine.feed(FeedRequest(user_id="u1", count=50), NOW, request_id)
    return [(item.item_id, item.value) for item in found.items]


def test_a_rehearsal_changes_no_page(home: Path) -> None:
    with Engine.open(home) as engine:
        before, status = page(engine, "r"), engine.status(NOW)
        for _ in range(3):
            engine.warm(NOW)
        assert engine.status(NOW) == status
        assert page(engine, "r") == before


def test_what_is_appended_after_a_rehearsal_compiles_no_kernel_of_the_fold(home: Path) -> None:
    with Engine.open(home) as engine:
        engine.warm(NOW)
        known = len(fold.signatures), len(_drop.signatures)
        page(engine, "r1")
        engine.flush()
        likes = [Event(f"e{n}", NOW, f"i{n}", Action.LIKE, f"u{n}", via_item_id="i4") for n in range(9)]
        room = Item("room", NOW, Kind.ROOM, title="直播间", author_id="a1")
        start = Event("s", NOW, "room", Action.ROOM_START)
        batches: list[list[Record]] = [[*likes[:1]], [*likes[1:]], [room], [start], [room, *likes[:2]]]
        for batch in batches:
            engine.append(batch, NOW)
        assert (len(fold.signatures), len(_drop.signatures)) == known
