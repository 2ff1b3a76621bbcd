"""What is rehearsed before a server answers: nothing changes by it, and what is asked for then is compiled."""

import os
import subprocess
import sys
from pathlib import Path

from features.fold.counters import fold
from features.records import Action, Event, Item, Kind, Record
from ranking.api import FeedRequest
from ranking.engine import Engine
from ranking.index.chains import _drop
from tests.small_home import NOW

ROOT = Path(__file__).parents[2]
FIRST_TRAINING = """
import sys
from pathlib import Path
from features.records import Item, Kind
from ranking.api import FeedRequest
from ranking.candidates import indexes
from ranking.engine import Engine
from tests.small_home import NOW

def compiled():
    modules = [vars(module) for name, module in sys.modules.items() if name.startswith("ranking.index")]
    kernels = {one for module in modules for one in module.values() if hasattr(one, "nopython_signatures")}
    return {(kernel.__module__, kernel.__name__, str(form)) for kernel in kernels for form in kernel.signatures}

# As in a home of thousands of items.
indexes.SOON = 20_000
with Engine.open(Path(sys.argv[1])) as engine:
    engine.warm(NOW)
    before = compiled()
    for index in engine.generation.indexes.values():
        if hasattr(index, "train"):
            index.train()
            index.wait()
            assert index.lists
    engine.append([Item("new", NOW, Kind.VIDEO, title="new", author_id="a1", live_from_ms=NOW)], NOW)
    engine.append([Item("new", NOW, Kind.VIDEO, listed=False)], NOW)
    engine.feed(FeedRequest(user_id="u1", count=2), NOW, "r")
    engine.similar("i1", 1, NOW)
    print(sorted(compiled() - before))
"""


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


def test_the_first_training_of_lists_compiles_no_kernel_beside_pages(home: Path) -> None:
    """In a process of its own: in this one other tests have compiled them."""
    command, environ = [sys.executable, "-c", FIRST_TRAINING, str(home)], os.environ | {"PYTHONPATH": str(ROOT)}
    ran = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert ran.stdout.strip() == "[]", ran.stderr
