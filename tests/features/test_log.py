"""The conformance suite of ``EventLog``, and what only a log on disk promises."""

import math
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import LogError, RecordError
from features.logs.archive import Archive
from features.logs.live import KEPT_MS, HomeLog
from features.logs.log import (
    DAY_MS,
    SCHEMA,
    EventLog,
    Stored,
    events_table,
    from_batch,
    merge,
    records_table,
    to_batch,
)
from features.records import Action, Context, Control, Erase, Event, Item, Kind, Record, Served, Slot, User

GOLDEN = Path(__file__).parents[1] / "golden" / "archive"
DAY = 20_000 * DAY_MS


class ListLog:
    """The oracle: a log as a list."""

    def __init__(self) -> None:
        self.stored: list[Stored] = []

    def end(self) -> int:
        return len(self.stored)

    def append(self, records: Sequence[Record], received_ms: int) -> list[int | None]:
        offsets: list[int | None] = []
        for record in records:
            known = {one.record.event_id for one in self.stored if isinstance(one.record, Event)}
            if isinstance(record, Event) and record.event_id in known:
                offsets.append(None)
                continue
            offsets.append(self.end())
            last = self.stored[-1].received_ms if self.stored else 0
            self.stored.append(Stored(self.end(), max(received_ms, last), record))
        return offsets

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[pa.RecordBatch]:
        part = self.stored[start:stop]
        if part:
            yield to_batch(part)

    def archive(self, before_ms: int) -> int:
        return 0


def stored(log: EventLog, start: int = 0, stop: int | None = None) -> list[Stored]:
    batches = list(log.read(start, stop))
    assert all(batch.schema.equals(SCHEMA) and len(batch) for batch in batches)
    return [one for batch in batches for one in from_batch(batch)]


def like(number: int | str, ts_ms: int = DAY) -> Event:
    return Event(f"e{number}", ts_ms, "i1", Action.LIKE, "u1")


event_ids = st.integers(0, 12).map(str)
ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4)
times = st.integers(0, 3 * DAY_MS).map(lambda ms: DAY + ms)
events = st.builds(
    Event,
    st.integers(0, 12).map(str) | ids,
    times,
    ids,
    st.sampled_from(Action),
    ids,
    ids,
    st.integers(0, 1 << 53),
    ids,
)
others = st.one_of(
    st.builds(Item, ids, times, st.sampled_from(Kind), title=ids, products=st.tuples(ids), listed=st.booleans()),
    st.builds(User, ids, times, history=st.lists(ids, max_size=3).map(tuple)),
    st.builds(Control, ids, times, st.just("hide_author"), ids),
    st.builds(Served, ids, times, st.integers(0, 9), ids, slots=st.builds(Slot, ids).map(lambda slot: (slot,))),
    st.builds(Erase, ids, times),
)
steps = st.one_of(
    st.tuples(st.just("append"), st.lists(events | others, max_size=5), times),
    st.tuples(st.just("archive"), times),
    st.tuples(st.just("reopen")),
)


@given(st.lists(steps, max_size=12), st.integers(0, 20), st.integers(0, 20))
def test_a_home_log_is_a_list_of_records_whatever_is_archived_and_reopened(
    tmp_path_factory: pytest.TempPathFactory, script: list[tuple[object, ...]], start: int, stop: int
) -> None:
    folder, oracle = tmp_path_factory.mktemp("log"), ListLog()
    log = HomeLog(folder, writer=True)
    for step in script:
        match step:
            case ("append", list(records), int(received_ms)):
                assert log.append(records, received_ms) == oracle.append(records, received_ms)
            case ("archive", int(before_ms)):
                log.archive(before_ms)
            case _:
                log.close()
                log = HomeLog(folder, writer=True)
        assert log.end() == oracle.end()
    with log, HomeLog(folder, writer=False) as reader:
        assert stored(log) == stored(reader) == oracle.stored
        assert stored(log, start, stop) == oracle.stored[start:stop]
        assert reader.end() == oracle.end()


@pytest.fixture(params=["home", "list"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EventLog]:
    if request.param == "list":
        yield ListLog()
        return
    with HomeLog(tmp_path, writer=True) as home:
        yield home


def test_an_empty_log_ends_at_0_and_reads_nothing(log: EventLog) -> None:
    assert log.end() == 0
    assert stored(log) == []
    assert log.append([], DAY) == []


def test_a_repeated_event_is_kept_once_within_a_call_and_between_calls(log: EventLog) -> None:
    assert log.append([like(1), like(1), like(2)], DAY) == [0, None, 1]
    assert log.append([like(2), like(3)], DAY) == [None, 2]


def test_what_is_no_event_is_kept_as_often_as_it_is_sent(log: EventLog) -> None:
    item = Item("i1", DAY, Kind.ROOM)
    assert log.append([item, item], DAY) == [0, 1]


def test_reception_never_goes_back(log: EventLog) -> None:
    for number, received_ms in enumerate((DAY, DAY - 5, DAY + 5)):
        log.append([like(number)], received_ms)
    assert [one.received_ms for one in stored(log)] == [DAY, DAY, DAY + 5]


def test_reading_stops_at_the_end_of_the_log(log: EventLog) -> None:
    log.append([like(1), like(2)], DAY)
    assert [one.offset for one in stored(log, 1, 99)] == [1]
    assert stored(log, 2) == stored(log, 5, 9) == []


def test_whole_days_move_to_the_archive_and_no_part_of_a_day(tmp_path: Path) -> None:
    with HomeLog(tmp_path, writer=True) as log:
        for day in range(3):
            log.append([like(f"{day}{i}") for i in range(2)], DAY + day * DAY_MS)
        assert log.archive(DAY + 2 * DAY_MS - 1) == 2
        assert log.archive(DAY + 2 * DAY_MS) == 2
        assert log.archive(DAY + 2 * DAY_MS) == 0
        assert log.append([like("00"), like("new")], DAY) == [None, 6]
        assert Archive(tmp_path / "archive").end() == 4
        assert [one.offset for one in stored(log)] == list(range(7))
        assert [one.received_ms for one in stored(log, 6)] == [DAY + 2 * DAY_MS]


def test_a_record_in_both_parts_after_a_crash_is_read_once(tmp_path: Path) -> None:
    before, home = tmp_path / "before", tmp_path / "home"
    with HomeLog(home, writer=True) as log:
        log.append([like(1), like(2)], DAY)
        log.append([like(3)], DAY + DAY_MS)
    shutil.copytree(home, before)
    with HomeLog(home, writer=True) as log:
        assert log.archive(DAY + DAY_MS) == 2
    # As if the writer had died after the archive was written, before the live part let go.
    shutil.copytree(home / "archive", before / "archive")
    with HomeLog(before, writer=False) as reader:
        assert [one.offset for one in stored(reader)] == [0, 1, 2]
    with HomeLog(before, writer=True) as log:
        assert [one.offset for one in stored(log)] == [0, 1, 2]
        assert log.append([like(1), like(4)], DAY) == [None, 3]


def test_a_second_writer_is_refused_until_the_first_lets_go(tmp_path: Path) -> None:
    with HomeLog(tmp_path, writer=True) as log:
        with pytest.raises(LogError, match="Another writer holds the log") as caught:
            HomeLog(tmp_path, writer=True)
        assert str(tmp_path) in caught.value.what
        assert f"process {os.getpid()}" in caught.value.what
        assert "Stop it first" in caught.value.way_out
        assert log.append([like(1)], DAY) == [0]
    HomeLog(tmp_path, writer=True).close()


def test_a_reader_finds_a_log_or_says_so_and_never_writes(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="There is no log"):
        HomeLog(tmp_path / "nowhere", writer=False)
    HomeLog(tmp_path, writer=True).close()
    with HomeLog(tmp_path, writer=False) as reader:
        writes: tuple[Callable[[], object], ...] = (lambda: reader.append([like(1)], DAY), lambda: reader.archive(DAY))
        for write in writes:
            with pytest.raises(LogError, match="not open for writing"):
                write()
        assert reader.end() == 0


def test_readers_see_a_growing_run_without_gaps_while_the_writer_appends_and_archives(tmp_path: Path) -> None:
    faults: list[str] = []
    done = threading.Event()

    def follow() -> None:
        with HomeLog(tmp_path, writer=False) as reader:
            seen = 0
            while not done.is_set():
                offsets = [offset for batch in reader.read() for offset in batch["offset"].to_pylist()]
                if offsets != list(range(len(offsets))) or len(offsets) < seen:
                    faults.append(f"{offsets} after {seen}")
                seen = len(offsets)

    with HomeLog(tmp_path, writer=True) as log:
        readers = [threading.Thread(target=follow) for _ in range(2)]
        for reader in readers:
            reader.start()
        for n in range(60):
            now_ms = DAY + n * DAY_MS // 8
            log.append([like(3 * n + i, now_ms) for i in range(3)], now_ms)
            if n % 8 == 7:
                log.archive(now_ms)
        done.set()
        for reader in readers:
            reader.join()
        assert faults == []
        assert log.end() == 180


def test_threads_that_append_get_offsets_of_their_own(tmp_path: Path) -> None:
    given_offsets: list[int | None] = []
    with HomeLog(tmp_path, writer=True) as log:

        def send(thread: int) -> None:
            for n in range(20):
                given_offsets.extend(log.append([like(f"{thread}-{n}"), like(f"shared-{n}")], DAY))

        threads = [threading.Thread(target=send, args=(n,)) for n in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(offset for offset in given_offsets if offset is not None) == list(range(80))
        assert [one.offset for one in stored(log)] == list(range(80))


def test_an_import_is_read_before_the_live_part_and_its_events_are_known(tmp_path: Path) -> None:
    table = merge([records_table([(DAY, Item("i1", DAY, Kind.VIDEO)), (DAY + DAY_MS, like("x"))])])
    with HomeLog(tmp_path, writer=True) as log:
        assert log.import_tables([table.slice(0, 1), table.slice(1)]) == 2
        assert log.append([like("x"), like("y")], DAY) == [None, 2]
        assert [one.received_ms for one in stored(log)] == [DAY, DAY + DAY_MS, DAY + DAY_MS]
        with pytest.raises(LogError, match="live already"):
            log.import_tables([table])


def test_an_import_that_runs_back_is_refused_and_what_came_before_it_stays(tmp_path: Path) -> None:
    late, early = records_table([(DAY + 5, like(1))]), records_table([(DAY, like(2))])
    with HomeLog(tmp_path, writer=True) as log:
        with pytest.raises(LogError, match="before the log's last record"):
            log.import_tables([late, early])
        assert log.end() == 1
        assert log.append([like(1), like(2)], DAY) == [None, 1]


def test_event_ids_are_forgotten_only_when_a_repeat_would_be_late(tmp_path: Path) -> None:
    with HomeLog(tmp_path, writer=True) as log:
        log.append([like(1)], DAY)
        log.append([like(2)], DAY + KEPT_MS)
        log.archive(DAY + KEPT_MS)
        assert log.append([like(1)], DAY + KEPT_MS) == [None]
        # Looked for once a day: it takes as long as there are ids.
        log.append([like(3)], DAY + KEPT_MS + DAY_MS)
        log.archive(DAY + KEPT_MS + DAY_MS)
        assert log.append([like(1), like(2)], DAY + KEPT_MS + DAY_MS) == [3, None]


def test_a_log_whose_live_part_is_lost_goes_on_after_its_archive(tmp_path: Path) -> None:
    with HomeLog(tmp_path, writer=True) as log:
        log.append([like(1)], DAY)
        log.archive(DAY + DAY_MS)
    for path in tmp_path.glob("live.sqlite*"):
        path.unlink()
    with HomeLog(tmp_path, writer=True) as log:
        assert log.append([like(1), like(2)], 0) == [None, 1]
        assert [one.received_ms for one in stored(log)] == [DAY, DAY]


def test_a_damaged_live_part_is_named(tmp_path: Path) -> None:
    (tmp_path / "live.sqlite").write_bytes(b"not a database, but long enough to be looked at" * 50)
    for writer in (True, False):
        with pytest.raises(LogError, match=r"live\.sqlite cannot be read"):
            HomeLog(tmp_path, writer=writer).end()


def test_one_flipped_bit_anywhere_in_an_archived_file_is_refused_by_its_name(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    records: list[Record] = [*map(like, range(50)), Item("房间1", DAY, Kind.ROOM, title="李佳的直播间")]
    archive.extend(records_table([(DAY, record) for record in records]))
    ((_, _, path),) = archive.files()
    whole = path.read_bytes()
    # Not every byte, for time's sake; all bits of a byte and all parts of the file have their turn.
    for at in range(0, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
        with pytest.raises(LogError, match="not as it was written") as caught:
            list(archive.read(0, 51))
        assert str(path) in caught.value.what
    path.write_bytes(whole)
    assert [one.record for batch in archive.read(0, 51) for one in from_batch(batch)] == records


@pytest.mark.parametrize("part", [slice(0), slice(-20), slice(20, None)])
def test_a_cut_archived_file_is_refused_by_its_name(tmp_path: Path, part: slice) -> None:
    with HomeLog(tmp_path, writer=True) as log:
        log.append([like(1)], DAY)
        log.archive(DAY + DAY_MS)
        (path,) = tmp_path.glob("archive/day=*/*.parquet")
        path.write_bytes(path.read_bytes()[part])
        with pytest.raises(LogError, match="not as it was written") as caught:
            stored(log)
        assert str(path) in caught.value.what


def test_the_loss_of_the_last_archived_file_is_seen_by_writers_and_readers(tmp_path: Path) -> None:
    with HomeLog(tmp_path, writer=True) as log:
        for day in range(2):
            log.append([like(day)], DAY + day * DAY_MS)
        log.archive(DAY + 2 * DAY_MS)
        reader = HomeLog(tmp_path, writer=False)
        assert len(stored(reader)) == 2
        max(tmp_path.glob("archive/day=*/*.parquet")).unlink()
        for look in (reader.end, lambda: stored(reader), lambda: stored(reader, 0, 1)):
            with pytest.raises(LogError, match="ends at 1, not 2"):
                look()
        with pytest.raises(LogError, match="lost the record at offset 1"):
            stored(log)
    with pytest.raises(LogError, match="ends at 1, not 2"):
        HomeLog(tmp_path, writer=True)


UNREADABLE: dict[str, dict[str, object]] = {
    "a number for a text": {"user_id": 5},
    "bytes for a text": {"user_id": b"u1"},
    "half a character": {"user_id": "\ud800"},
    "an unknown action": {"action": "love"},
    "a fraction of a millisecond": {"ts_ms": 0.5},
    "a number no column holds": {"value": 1 << 70},
    "a number out of its range": {"value": -1},
    "what JSON has no form for": {"context": object()},
    "a name that is too long": {"event_id": "e" * 129},
}


@pytest.mark.parametrize("fields", UNREADABLE.values(), ids=UNREADABLE)
def test_a_record_that_would_not_be_read_again_is_refused_by_name_and_nothing_is_kept(
    tmp_path: Path, fields: dict[str, Any]
) -> None:
    bad = msgspec.structs.replace(like(2), **fields)
    with HomeLog(tmp_path, writer=True) as log:
        with pytest.raises(RecordError, match=f"event '{bad.event_id}' cannot be kept"):
            log.append([like(1), bad], DAY)
        assert log.end() == 0
        assert log.append([like(1), like(2)], DAY) == [0, 1]
        assert [one.record for one in stored(log)] == [like(1), like(2)]


def test_a_catalog_row_that_would_be_read_as_another_is_refused(tmp_path: Path) -> None:
    embedding: Any = [0.1, 0.2]
    for bad in (
        Item("i1", DAY, Kind.VIDEO, embedding=embedding),
        Item("i1", DAY, Kind.VIDEO, embedding=(math.nan,)),
        User("u1", DAY, attributes={"active": math.inf}),
    ):
        with HomeLog(tmp_path, writer=True) as log, pytest.raises(RecordError, match="cannot be kept"):
            log.append([bad], DAY)


def test_records_cannot_be_received_at_what_is_no_moment(tmp_path: Path) -> None:
    no_moments: list[Any] = [0.5, "now", -1, 1 << 47]
    with HomeLog(tmp_path, writer=True) as log:
        for received_ms in no_moments:
            with pytest.raises(RecordError, match="received_ms"):
                log.append([like(1)], received_ms)
        assert log.end() == 0


@pytest.mark.parametrize(
    "damage", ["UPDATE records SET body = '{' WHERE offset = 1", "DELETE FROM records WHERE offset = 1"]
)
def test_a_damaged_record_is_named_by_its_offset(tmp_path: Path, damage: str) -> None:
    with HomeLog(tmp_path, writer=True) as log:
        log.append([like(1), like(2), like(3)], DAY)
        with closing(sqlite3.connect(tmp_path / "live.sqlite")) as other, other:
            other.execute(damage)
        with pytest.raises(LogError, match="offset 1"):
            stored(log)


def test_the_archive_of_the_first_format_is_read_forever() -> None:
    context = Context(surface="live", device="phone", city_tier="1", position=3)
    expected: list[Record] = [
        Item("房间1", DAY, Kind.ROOM, title="李佳的直播间", author_id="a1", room_type="kol", products=("p1",)),
        User("u1", DAY, gender="f", city_tier="1", history=("v1", "v2"), attributes={"active": 0.5}),
        Event("e1", DAY + 1, "p1", Action.ORDER, "u1", "房间1", 9900, "r1", context),
        Event("e2", DAY + 2, "房间1", Action.ROOM_END),
        Control("u1", DAY + 3, "hide_author", "a1"),
        Served("r1", DAY + 4, 3, "u1", context, "b1", "p1", (Slot("p1", "trending", 0.5, 1.0),)),
        Erase("u1", DAY + 5),
    ]
    archive = Archive(GOLDEN)
    found = [one for batch in archive.read(0, archive.end()) for one in from_batch(batch)]
    assert found == [Stored(n, DAY + 10 + n, record) for n, record in enumerate(expected)]


def test_an_archive_with_a_gap_or_a_foreign_file_is_refused(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    for day in range(3):
        archive.extend(records_table([(DAY + day * DAY_MS, like(day))]))
    (_, middle, _) = [path for _, _, path in archive.files()]
    table = pq.read_table(middle)
    middle.unlink()
    foreign = middle.with_stem(middle.stem.rpartition("-")[0])
    pq.write_table(table.drop_columns(["payload"]), foreign)
    with pytest.raises(LogError, match="schema"):
        list(archive.read(0, 3))
    foreign.unlink()
    with pytest.raises(LogError, match="begins at offset 2, not 1"):
        archive.files()
    middle.with_stem("notes").touch()
    with pytest.raises(LogError, match="not named by its offsets"):
        archive.files()


def test_bulk_events_are_the_records_they_stand_for() -> None:
    columns = {"received_ms": [DAY], "ts_ms": [DAY], "event_id": ["e1"], "user_id": ["u1"], "item_id": ["i1"]}
    table = events_table({name: pa.array(values) for name, values in columns.items()} | {"action": pa.array(["like"])})
    assert table.equals(records_table([(DAY, like(1))]))
