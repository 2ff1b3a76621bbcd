"""A person who is erased: no byte of the home names them, and what they did to items still counts."""

import shutil
import sqlite3
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Event as Signal
from threading import Thread

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from msgspec import json

from features.errors import LogError, RequestError
from features.logs import erase, erasing, people, rows
from features.logs.archive import Archive
from features.logs.live import HomeLog
from features.logs.log import DAY_MS, from_batch, records_table
from features.logs.scrubbing import Scrubber
from features.records import Action, Context, Control, Decision, Event, Record, Served, User, encode
from features.replay import Readers, read_moments
from features.snapshot import restored
from ranking.api import Ack, FeedRequest, Level
from ranking.engine import Engine
from ranking.mixing.boosts import Purse
from ranking.request.generation import Generation
from ranking.request.ladder import Budget
from ranking.request.making import Made, Read, composed
from tests.features.test_snapshot import assert_same
from tests.small_home import FEATURES, NOW, catalog

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
    """The files of a home that hold a name: as bytes or, where what is in them is packed, unpacked."""
    return [path for path in home.rglob("*") if path.is_file() and any(name.encode() in part for part in parts(path))]


def parts(path: Path) -> Iterator[bytes]:
    yield path.read_bytes()
    if path.suffix == ".parquet":
        yield json.encode(pq.read_table(path).to_pylist())
    elif path.suffix == ".npz":
        with zipfile.ZipFile(path) as packed:
            yield from map(packed.read, packed.namelist())


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
        assert len(named(home, WHO)) >= 2
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


def test_from_the_first_record_on_one_table_alone_links_a_person_to_their_name(home: Path) -> None:
    filled(home).close()
    with HomeLog(home / "log", writer=False, by_ids=False) as log:
        raw = [one.record for batch in log.read() for one in from_batch(batch)]
    theirs = {people.who(one) for one in raw if isinstance(one, Event) and f"-{WHO}-" in one.event_id}
    assert len(theirs) == 1
    assert all(name.startswith(people.MARK) for name in theirs)
    assert {people.who(one) for one in raw if isinstance(one, User | Control | Served)} >= theirs
    assert WHO not in {people.who(one) for one in raw}
    with closing(sqlite3.connect(home / "log" / "live.sqlite")) as live:
        assert live.execute("SELECT name FROM people WHERE user_id = ?", (WHO,)).fetchall() == [(*theirs,)]
    # Snapshots hold the name, and are read by the id.
    assert not any(path.parent.parent.name == "state" for path in named(home, WHO))
    with Engine.open(home, writer=False) as engine:
        assert engine.generation.state.users.find(WHO) > 0
    assert sum(people.who(one) == WHO for one in records(home)) == len(
        [one for one in raw if people.who(one) in theirs]
    )


def test_who_is_only_in_a_page_or_in_a_decision_is_erased_there_too(home: Path) -> None:
    with Engine.open(home) as engine:
        engine.append([User(WHO, NOW)], NOW)
        engine.feed(FeedRequest(user_id=WHO, explain=True), NOW, f"page of {WHO}")
        engine.flush()
        engine.archive(NOW + DAY_MS)
        engine.feed(FeedRequest(user_id=WHO, explain=True), NOW, f"second page of {WHO}")
        engine.flush()
        assert engine.erase(WHO, NOW + DAY_MS).status == "accepted"
        assert named(home, WHO) == []
    pages = [one for one in records(home) if isinstance(one, Served | Decision)]
    assert [type(one) for one in pages] == [Served, Decision] * 2
    assert [page.request_id for page in pages[::2]] == [page.request_id for page in pages[1::2]]


def test_who_is_known_by_a_page_alone_that_still_waits_is_erased(home: Path) -> None:
    with Engine.open(home) as engine:
        engine.feed(FeedRequest(user_id=WHO), NOW, "page")
        assert engine.erase(WHO, NOW).status == "accepted"
        assert named(home, WHO) == []
    assert [people.who(one)[:1] for one in records(home) if isinstance(one, Served)] == [people.MARK]


def test_a_page_that_is_made_while_its_person_is_erased_is_nobodys(home: Path) -> None:
    with filled(home) as engine:

        def late(generation: Generation, found: Read, level: Level, budget: Budget, ledger: Purse) -> Made:
            engine.erase(WHO, NOW + DAY_MS)
            return composed(generation, found, level, budget, ledger)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("ranking.request.answers.composed", late)
            engine.feed(FeedRequest(user_id=WHO, device="phone"), NOW + DAY_MS, f"late {WHO}")
        engine.flush()
        assert named(home, WHO) == []
    assert [people.who(one) for one in records(home) if isinstance(one, Served)][-1] == ""


def test_a_home_of_before_knows_people_by_their_ids_until_they_are_erased(home: Path) -> None:
    """As the program of before wrote it: ids in the archive and in the live part, and no table."""
    shutil.rmtree(home / "log")
    with HomeLog(home / "log", writer=True) as log:
        log.import_tables(
            [records_table([(NOW - 1000, record) for record in [*catalog(), *deeds("a", WHO, NOW - 1000)]])]
        )
        log.append(deeds("b", WHO, NOW), NOW)
    with HomeLog(home / "log", writer=False) as log:
        archived, live = log.read()
    shutil.rmtree(home / "log" / "archive")
    Archive(home / "log" / "archive").write(pa.Table.from_batches([archived]))
    told = [(encode(record), at, received_ms) for at, received_ms, record, _ in from_batch(live)]
    with closing(sqlite3.connect(home / "log" / "live.sqlite")) as old, old:
        kept = [(body, rows.crc(at, received_ms, body), at) for body, at, received_ms in told]
        old.executemany("UPDATE records SET body = ?, crc = ? WHERE offset = ?", kept)
        old.execute("DROP TABLE people")
        old.execute("PRAGMA user_version = 2")
    before = records(home)
    with Engine.open(home) as engine:
        assert records(home) == before
        engine.append([*deeds("c", WHO, NOW), User("new", NOW)], NOW)
        assert {path.suffix for path in named(home, WHO)} >= {".parquet", ".sqlite"}
        engine.archive(NOW + DAY_MS)
        engine.append(deeds("d", WHO, NOW), NOW + DAY_MS)
        engine.erase(WHO, NOW + DAY_MS)
        assert named(home, WHO) == []
        with HomeLog(home / "log", writer=False) as log:
            assert_same(engine.generation.state, restored(FEATURES.layout, log, home / "nowhere"))


def test_a_cleared_history_takes_its_contexts_out_of_every_file_and_nothing_else(home: Path) -> None:
    with filled(home) as engine:
        state = engine.generation.state
        user = state.users.find(WHO)
        engine.append([Control(WHO, NOW, "clear_history")], NOW + DAY_MS)
        assert not state.arrays.rings.item[user].any()
        assert state.hidden[user].items
        engine.append(deeds("after", WHO, NOW), NOW + DAY_MS)
        engine.scrub()
        with HomeLog(home / "log", writer=False) as log:
            assert_same(state, restored(FEATURES.layout, log, home / "nowhere"))
    theirs = [one for one in records(home) if people.who(one) == WHO]
    contexts = [one.context.device for one in theirs if isinstance(one, Event)]
    assert contexts == [""] * 9 + ["phone"] * 3
    assert {one.context.device for one in theirs if isinstance(one, Served)} == {""}
    assert {one.gender for one in theirs if isinstance(one, User)} == {"f"}
    assert [ack.status for ack in acks_of(home, deeds("c", WHO, NOW))][1:4] == ["duplicate"] * 3


def acks_of(home: Path, again: list[Record]) -> tuple[Ack, ...]:
    with Engine.open(home) as engine:
        return engine.append(again, NOW + DAY_MS)


def test_a_trained_bundle_names_nobody(tiny_home: Path) -> None:
    everybody = {people.who(one) for one in records(tiny_home)} - {""}
    assert len(everybody) > 100
    content = b"".join(path.read_bytes() for path in (tiny_home / "bundles").rglob("*") if path.is_file())
    assert [name for name in everybody if f'"{name}"'.encode() in content] == []


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


def cut_off(_: object) -> bool:
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


def test_an_erasure_waits_for_who_reads_and_appends_go_on_meanwhile(home: Path) -> None:
    with filled(home) as engine, closing(sqlite3.connect(home / "log" / "live.sqlite", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM records").fetchall()
        begun = Thread(target=engine.erase, args=(WHO, NOW + DAY_MS))
        begun.start()
        begun.join(0.2)
        acks = engine.append(deeds("f", "u1", NOW), NOW + DAY_MS)
        assert {ack.status for ack in acks} == {"accepted"}
        assert begun.is_alive()
        reader.execute("COMMIT")
        begun.join()
        assert named(home, WHO) == []


@pytest.mark.parametrize("drawn", [True, False], ids=["a drawn name", "a home of before"])
def test_an_erasure_that_a_reader_or_a_kill_cuts_short_is_due_until_no_file_names_them(
    home: Path, drawn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not drawn:
        with closing(sqlite3.connect(home / "log" / "live.sqlite")) as live, live:
            people.take_as_they_are(live, [WHO])
    monkeypatch.setattr("features.logs.scrubbing.WAL_TRIES", 2)
    with filled(home) as engine, closing(sqlite3.connect(home / "log" / "live.sqlite", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM records").fetchall()
        for _ in range(2):
            with pytest.raises(LogError, match="a reader keeps the write-ahead file"):
                engine.erase(WHO, NOW + DAY_MS)
        killed = Path(shutil.copytree(home, home.parent / "killed"))
        reader.execute("COMMIT")
        assert named(home, WHO)
        with pytest.raises(RequestError, match="Erasing is done"):
            engine.erase(WHO, NOW + DAY_MS)
        assert named(home, WHO) == []
    with Engine.open(killed):
        assert named(killed, WHO) == []


def test_what_a_clear_that_was_cut_short_owes_the_next_scrub_does(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with filled(home) as engine:
        engine.append([Control(WHO, NOW, "clear_history")], NOW + DAY_MS)
        with monkeypatch.context() as patch:
            patch.setattr(Scrubber, "_empty_wal", cut_off)
            with pytest.raises(LogError, match="the power is gone"):
                engine.scrub()
        before = sorted((home / "log").rglob("*.parquet"))
        engine.scrub()
        assert sorted((home / "log").rglob("*.parquet")) == before
        with closing(sqlite3.connect(home / "log" / "live.sqlite")) as live:
            assert live.execute("SELECT count(*) FROM erasures").fetchall() == [(0,)]


ODD = [
    WHO, 'quo"te', "back\\slash", '","user_id":"u1', "\\", '"', "'; DROP TABLE records; --", "\n\x00", "u", "u1", "~",
]  # fmt: skip


@pytest.mark.parametrize("sought", [ODD[:1], ODD[1:4], ODD[5:], ODD])
def test_of_the_live_part_the_records_of_people_are_found_whatever_they_are_called(
    tmp_path: Path, sought: list[str]
) -> None:
    """As in a home of before, which knows people by the ids that they came with."""
    known = [*ODD, "somebody"]
    everything = [one for user_id in known for one in [*deeds("a", user_id, NOW), Served(user_id, NOW, 0, user_id)]]
    everything += [Event('"user_id":"u1"', NOW, "i1", Action.ROOM_PULSE), Served("page", NOW, 0)]
    with HomeLog(tmp_path, writer=True) as log:
        log.append(everything, NOW)
    with closing(sqlite3.connect(tmp_path / "live.sqlite")) as live, live:
        people.take_as_they_are(live, known)
        live.executemany("UPDATE people SET name = user_id WHERE user_id = ?", [(one,) for one in known])
        bodies = [(encode(one), at) for at, one in enumerate(everything)]
        live.executemany("UPDATE records SET body = ? WHERE offset = ?", bodies)
        found = erasing.of_people(live, [erase.Erasure(name, "~after", len(everything) - 4) for name in sought])
    theirs = [at for at, one in enumerate(everything[:-4]) if people.who(one) in sought]
    assert [at for at in found if people.who(everything[at]) in sought] == theirs
    # Beyond them at most those of ids that are alike up to a quote.
    assert all('"' in people.who(everything[at]) for at in set(found) - set(theirs))


def test_events_are_kept_while_the_records_of_who_is_erased_are_looked_for(home: Path) -> None:
    looking, go_on = Signal(), Signal()
    look = erasing.of_people

    def slowly(live: sqlite3.Connection, erasures: list[erase.Erasure]) -> list[int]:
        looking.set()
        assert go_on.wait(60)
        return look(live, erasures)

    with filled(home) as engine, pytest.MonkeyPatch.context() as patch:
        patch.setattr(erasing, "of_people", slowly)
        begun = Thread(target=engine.erase, args=(WHO, NOW + DAY_MS))
        begun.start()
        assert looking.wait(60)
        acks = engine.append(deeds("meanwhile", "u1", NOW), NOW + DAY_MS)
        go_on.set()
        begun.join()
        assert {ack.status for ack in acks} == {"accepted"}
        assert named(home, WHO) == []


def test_many_who_clear_and_are_erased_at_once_are_scrubbed_in_pieces(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasing, "SCRUBBED", 3)
    names = [f"{WHO}-{n}" for n in range(4)]
    with Engine.open(home) as engine:
        for name in names:
            engine.append(deeds("x", name, NOW), NOW)
            engine.feed(FeedRequest(user_id=name, explain=True), NOW, f"page of {name}")
            engine.append([Control(name, NOW, "clear_history")], NOW)
        engine.append(deeds("y", names[0], NOW), NOW)
        engine.erase(names[1], NOW)
        engine.erase(names[2], NOW)
        assert named(home, names[1]) == named(home, names[2]) == []
        with HomeLog(home / "log", writer=False) as log:
            assert_same(engine.generation.state, restored(FEATURES.layout, log, home / "nowhere"))
    contexts: dict[str, list[str]] = {name: [] for name in names}
    for one in records(home):
        if isinstance(one, Event) and one.user_id in contexts:
            contexts[one.user_id].append(one.context.device)
    assert contexts == {names[0]: [""] * 3 + ["phone"] * 3, names[1]: [], names[2]: [], names[3]: [""] * 3}
