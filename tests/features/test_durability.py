"""What is acknowledged is kept: over power cuts, full disks and formats of before; and damage is named, not read."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.faults import full_disk
from features.errors import LogError
from features.logs.live import HomeLog
from features.logs.log import DAY_MS, from_batch
from features.records import Action, Event, Item, Kind, Record, User

DAY = 20_000 * DAY_MS


def like(name: object) -> Event:
    return Event(f"e{name}", DAY, "i1", Action.LIKE, "u1")


def kept(log: HomeLog) -> list[Record]:
    found = [one for batch in log.read() for one in from_batch(batch)]
    assert [one.offset for one in found] == list(range(log.end()))
    return [one.record for one in found]


batches = st.lists(
    st.lists(
        st.integers(0, 30).map(like) | st.builds(Item, st.just("房间"), st.just(DAY), st.just(Kind.ROOM)), max_size=4
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=40)
@given(batches, st.data())
def test_a_power_cut_at_any_byte_takes_nothing_that_was_acknowledged_and_no_batch_in_part(
    tmp_path_factory: pytest.TempPathFactory, sent: list[list[Record]], data: st.DataObject
) -> None:
    home, after = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("cut") / "log"
    wal = home / "live.sqlite-wal"
    with HomeLog(home, writer=True) as log:
        # How long the write-ahead file was when each batch was acknowledged, and what the log held.
        told = [(wal.stat().st_size, kept(log))]
        for batch in sent:
            log.append(batch, DAY)
            told.append((wal.stat().st_size, kept(log)))
        shutil.copytree(home, after)
    cut = data.draw(st.integers(told[0][0], told[-1][0]))
    torn = after / "live.sqlite-wal"
    # What had not been synced may be there, be gone, or be anything.
    rest = data.draw(st.binary(max_size=64))
    torn.write_bytes(torn.read_bytes()[:cut] + rest)
    (after / "live.sqlite-shm").unlink()
    with HomeLog(after, writer=True) as log:
        assert kept(log) in [records for length, records in told if length <= cut][-1:]
        for batch in sent:
            log.append([record for record in batch if isinstance(record, Event)], DAY)
        events = [record for record in kept(log) if isinstance(record, Event)]
        assert sorted(event.event_id for event in events) == sorted(
            {record.event_id for batch in sent for record in batch if isinstance(record, Event)}
        )


def test_a_full_disk_refuses_by_name_keeps_nothing_and_the_log_goes_on_after(tmp_path: Path) -> None:
    with HomeLog(tmp_path, writer=True) as log:
        log.append([like(1)], DAY)
        many: list[Record] = [like(f"many-{n}" * 9) for n in range(3000)]
        with full_disk((tmp_path / "live.sqlite-wal").stat().st_size + 40_000):
            with pytest.raises(LogError, match=r"live\.sqlite"):
                log.append(many, DAY)
            assert (log.end(), len(kept(log))) == (1, 1)
        assert log.append([like(2), *many], DAY) == list(range(1, 3002))
    with HomeLog(tmp_path, writer=True) as log:
        assert kept(log) == [like(1), like(2), *many]


def test_an_archive_that_finds_no_room_leaves_no_draft_and_is_made_the_next_time(tmp_path: Path) -> None:
    with HomeLog(tmp_path, writer=True) as log:
        many = [like(f"{n}-{hash(str(n))}") for n in range(5000)]
        log.append(many, DAY)
        with full_disk(10_000), pytest.raises(LogError, match="cannot be written"):
            log.archive(DAY + DAY_MS)
        assert list(tmp_path.glob("archive/*/*")) == []
        assert kept(log) == many
        assert log.archive(DAY + DAY_MS) == 5000
        assert kept(log) == many


def test_a_record_that_reads_but_is_not_as_it_was_written_is_named_by_its_offset(tmp_path: Path) -> None:
    with HomeLog(tmp_path, writer=True) as log:
        log.append([User(f"u{n}", DAY, gender="f") for n in range(3)], DAY)
        with closing(sqlite3.connect(tmp_path / "live.sqlite")) as other, other:
            other.execute("UPDATE records SET body = replace(body, '\"f\"', '\"m\"') WHERE offset = 2")
        with pytest.raises(LogError, match="offset 2") as caught:
            kept(log)
        assert "huozhao log check" in caught.value.way_out


def test_a_live_part_of_the_first_format_is_read_and_a_writer_goes_on_with_it(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "live.sqlite")) as old, old:
        old.executescript(
            """CREATE TABLE records (offset INTEGER PRIMARY KEY, received_ms INTEGER NOT NULL, body BLOB NOT NULL);
            CREATE TABLE event_ids (event_id TEXT PRIMARY KEY, received_ms INTEGER NOT NULL) WITHOUT ROWID;
            CREATE TABLE archived (id INTEGER PRIMARY KEY CHECK (id = 0), stop INTEGER NOT NULL);
            INSERT INTO archived VALUES (0, 0); INSERT INTO event_ids VALUES ('e1', 1728000000000);
            PRAGMA user_version = 1;"""
        )
        body = b'{"type":"event","event_id":"e1","ts_ms":1728000000000,"item_id":"i1","action":"like","user_id":"u1"}'
        old.execute("INSERT INTO records VALUES (0, ?, ?)", (DAY, body))
    with HomeLog(tmp_path, writer=False) as reader:
        assert kept(reader) == [like(1)]
        with HomeLog(tmp_path, writer=True, durability="relaxed") as log:
            assert log.append([like(1), like(2)], DAY) == [None, 1]
            assert kept(reader) == kept(log) == [like(1), like(2)]
