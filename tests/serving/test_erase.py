"""A person who is erased: no byte of the home names them, and what they did to items still counts."""

import shutil
from pathlib import Path

import pytest

from features import erase
from features.errors import LogError, RequestError
from features.live import HomeLog
from features.log import DAY_MS, from_batch
from features.records import Action, Context, Control, Event, Record, Served, User
from features.replay import Readers, read_moments
from features.snapshot import restored
from ranking.engine import Engine
from ranking.types import FeedRequest
from tests.features.test_snapshot import assert_same
from tests.small_home import FEATURES, NOW

WHO = "张三-secret@example"


def deeds(prefix: str, user_id: str, ts_ms: int) -> list[Record]:
    context = Context("feed", "phone", "tier1", 3)
    acts = (Action.IMPRESSION, Action.WATCH, Action.LIKE)
    return [
        User(user_id, ts_ms, gender="f", history=("i5", "old")),
        *(
            Event(f"{prefix}-{user_id}-{act}", ts_ms, "i2", act, user_id, "", 9_000, f"r-{user_id}", context)
            for act in acts
        ),
        Control(user_id, ts_ms, "hide_item", "i6"),
    ]


def named(home: Path, name: str) -> list[Path]:
    return [path for path in home.rglob("*") if path.is_file() and name.encode() in path.read_bytes()]


def filled(home: Path) -> Engine:
    """An engine that knows the person from the archive, the live part, a snapshot and pages that wait."""
    with Engine.open(home) as engine:
        engine.append([*deeds("a", WHO, NOW), *deeds("b", "u1", NOW)], NOW)
        engine.archive(NOW + DAY_MS)
        engine.append([*deeds("c", WHO, NOW), *deeds("d", "u1", NOW)], NOW + DAY_MS)
    engine = Engine.open(home)
    engine.append(deeds("e", WHO, NOW), NOW + DAY_MS)
    engine.feed(FeedRequest(user_id=WHO, device="phone"), NOW + DAY_MS, "page")
    return engine


def records(home: Path) -> list[Record]:
    with HomeLog(home / "log", writer=False) as log:
        return [one.record for batch in log.read() for one in from_batch(batch)]


def test_no_byte_of_a_home_names_who_was_erased_and_items_keep_their_counters(home: Path) -> None:
    with filled(home) as engine:
        assert len({path.parent for path in named(home, WHO)}) >= 3
        state = engine.generation.state
        item, user = state.items.find("i2"), state.users.find(WHO)
        counted = state.arrays.tables[1].values[item].tobytes()
        assert engine.erase(WHO, NOW + DAY_MS).status == "accepted"
        assert named(home, WHO) == []
        assert state.users.find(WHO) == 0
        assert state.arrays.tables[1].values[item].tobytes() == counted
        assert not state.arrays.rings.item[user].any()
        with pytest.raises(RequestError, match="Nothing is known"):
            engine.erase(WHO, NOW + DAY_MS)
    assert named(home, WHO) == []
    theirs = [one for one in records(home) if getattr(one, "user_id", "").startswith("~")]
    assert len({one.user_id for one in theirs if isinstance(one, Event | User | Control | Served)}) == 1
    events = [one for one in theirs if isinstance(one, Event)]
    assert {(event.context, event.item_id) for event in events} == {(Context(""), "i2")}
    assert [one.gender for one in theirs if isinstance(one, User)] == [""] * 3
    assert sum(isinstance(one, Event) and one.context.device == "phone" for one in records(home)) == 6


def test_what_is_left_folds_to_the_state_that_served_on(home: Path) -> None:
    with filled(home) as engine:
        engine.erase(WHO, NOW + DAY_MS)
        engine.append(deeds("back", WHO, NOW + DAY_MS), NOW + DAY_MS)
        with HomeLog(home / "log", writer=False) as log:
            again = restored(FEATURES.layout, log, home / "nowhere")
        assert_same(engine.generation.state, again)
        assert engine.generation.state.users.find(WHO) == len(engine.generation.state.users) - 1


def test_an_event_of_who_was_erased_is_still_known_when_it_comes_again(home: Path) -> None:
    again = [one for part in "ace" for one in deeds(part, WHO, NOW) if isinstance(one, Event)]
    with filled(home) as engine:
        engine.erase(WHO, NOW + DAY_MS)
        assert {ack.status for ack in engine.append(again, NOW + DAY_MS)} == {"duplicate"}
        fresh = Event("fresh", NOW, "i2", Action.LIKE, "u1")
        assert [ack.status for ack in engine.append([fresh, fresh], NOW + DAY_MS)] == ["accepted", "duplicate"]


def test_who_was_being_erased_when_the_server_was_killed_is_erased_at_its_next_start(home: Path) -> None:
    engine = filled(home)
    engine.flush()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HomeLog, "scrub", cut_off)
        with pytest.raises(LogError, match="the power is gone"):
            engine.erase(WHO, NOW + DAY_MS)
    killed = Path(shutil.copytree(home, home.parent / "killed"))
    engine.close()
    assert named(killed, WHO)
    Engine.open(killed).close()
    assert named(killed, WHO) == []


def cut_off(_: HomeLog) -> bool:
    raise LogError("the power is gone")


def test_a_digest_is_the_same_for_the_same_id_and_is_no_further_digested() -> None:
    once = erase.digest("event")
    assert once == erase.digest("event") == erase.digest(once) != erase.digest("event2")
    assert erase.digest("") == ""


def test_readers_go_on_over_files_that_are_written_anew(home: Path) -> None:
    with filled(home) as engine, HomeLog(home / "log", writer=False) as log:
        batches = log.read()
        begun = len(next(batches))
        engine.flush()
        engine.erase("u1", NOW + DAY_MS)
        assert begun + sum(len(batch) for batch in batches) >= 51
        assert list(read_moments(log, Readers.always(engine.generation.reader), [])) == []
