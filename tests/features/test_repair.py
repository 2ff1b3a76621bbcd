"""A damaged log stops at the offset where it is damaged, and a repair keeps all that can be read."""

import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import DamageError, LogError
from features.logs.live import HomeLog
from features.logs.log import DAY_MS, SCHEMA, Stored, from_batch, to_batch
from features.logs.repair import check, known_lost, repair, stretches
from features.logs.salvage import filled, lost, readable
from features.records import Event, Lost
from tests.features.test_durability import DAY, kept, like


def whole(folder: Path, count: int) -> None:
    with HomeLog(folder, writer=True) as log:
        log.append([like("archived")], DAY - 86_400_000)
        log.archive(DAY)
        log.append([like(n) for n in range(count)], DAY)


def test_a_whole_log_is_left_alone(tmp_path: Path) -> None:
    whole(tmp_path, 9)
    assert (check(tmp_path), repair(tmp_path)) == ([], None)
    with HomeLog(tmp_path, writer=True), pytest.raises(LogError, match="Another writer"):
        repair(tmp_path)


def test_damaged_and_missing_records_are_lost_and_no_other(tmp_path: Path) -> None:
    whole(tmp_path, 9)
    with closing(sqlite3.connect(tmp_path / "live.sqlite")) as live, live:
        live.execute("UPDATE records SET body = replace(body, 'like', 'hide') WHERE offset = 3")
        live.execute("DELETE FROM records WHERE offset = 6")
    assert [fault.offset for fault in check(tmp_path)] == [3, 6]
    done = repair(tmp_path)
    assert done is not None
    assert done.lost == (3, 6)
    assert (done.aside / "live.sqlite").is_file()
    assert check(tmp_path) == []
    with HomeLog(tmp_path, writer=True) as log:
        found = kept(log)
        assert [at for at, record in enumerate(found) if isinstance(record, Lost)] == [3, 6]
        assert [at for at, record in enumerate(found) if isinstance(record, Event)] == [0, 1, 2, 4, 5, 7, 8, 9]
        assert log.append([like("archived"), like(0), like(5), like("new")], DAY) == [None, None, None, 10]


def test_pages_of_the_file_that_are_overwritten_take_their_own_records_alone(tmp_path: Path) -> None:
    whole(tmp_path, 2000)
    path = tmp_path / "live.sqlite"
    content = bytearray(path.read_bytes())
    first = content.index(b'e1000"') // 4096 * 4096
    content[first : first + 4096] = b"\xff" * 4096
    path.write_bytes(content)
    with HomeLog(tmp_path, writer=False) as log, pytest.raises(LogError, match=r"live\.sqlite .*offset"):
        kept(log)
    done = repair(tmp_path)
    assert done is not None
    assert 0 < len(done.lost) < 100
    with HomeLog(tmp_path, writer=True) as log:
        assert sum(isinstance(record, Event) for record in kept(log)) == 2001 - len(done.lost)


def archived(folder: Path, count: int) -> Path:
    """A log of two archived days, of ``count`` records each, and one live record; the file of the second day."""
    with HomeLog(folder, writer=True) as log:
        for day in range(2):
            log.append([like(f"{day}-{n}") for n in range(count)], DAY + day * DAY_MS)
        log.append([like("live")], DAY + 2 * DAY_MS)
        log.archive(DAY + 2 * DAY_MS)
    _, second = sorted(folder.glob("archive/*/*"))
    return second


def test_of_an_archived_file_whose_end_is_gone_every_record_is_lost_and_the_file_is_kept_aside(tmp_path: Path) -> None:
    path = archived(tmp_path, 3)
    path.write_bytes(damaged := path.read_bytes()[:-9])
    assert [(fault.offset, fault.archived) for fault in check(tmp_path)] == [(3, True)]
    done = repair(tmp_path)
    assert done is not None
    assert done.lost == (3, 4, 5)
    assert (done.aside / path.name).read_bytes() == damaged
    assert (check(tmp_path), repair(tmp_path)) == ([], None)
    assert known_lost(tmp_path) == [3, 4, 5]
    with HomeLog(tmp_path, writer=True) as log:
        assert [type(record) for record in kept(log)] == [Event] * 3 + [Lost] * 3 + [Event]
        times = [one.received_ms for batch in log.read() for one in from_batch(batch)]
        assert times == sorted(times)
        assert times[3] // DAY_MS == DAY // DAY_MS + 1
        # The live part knows the event ids of the lost ones still.
        assert log.append([like("1-0"), like("new")], DAY + 2 * DAY_MS) == [None, 7]


def test_a_damaged_page_takes_the_records_behind_it_in_its_row_group_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("features.logs.archive.GROUP_ROWS", 20)
    path = archived(tmp_path, 100)
    with pq.ParquetFile(path) as file:
        chunk = file.metadata.row_group(2).column(SCHEMA.get_field_index("event_id"))
    content = bytearray(path.read_bytes())
    content[chunk.data_page_offset + 60] ^= 1
    path.write_bytes(content)
    with HomeLog(tmp_path, writer=False) as log, pytest.raises(DamageError, match="from offset 140 on"):
        kept(log)
    done = repair(tmp_path)
    assert done is not None
    assert stretches(done.lost) == ["140 to 159"]
    with HomeLog(tmp_path, writer=False) as log:
        assert [at for at, record in enumerate(kept(log)) if isinstance(record, Lost)] == [*range(140, 160)]


def test_both_parts_are_mended_at_once(tmp_path: Path) -> None:
    path = archived(tmp_path, 3)
    path.write_bytes(path.read_bytes()[9:])
    with closing(sqlite3.connect(tmp_path / "live.sqlite")) as live, live:
        live.execute("UPDATE records SET body = replace(body, 'like', 'hide')")
    done = repair(tmp_path)
    assert done is not None
    assert done.lost == (3, 4, 5, 6)
    assert {file.name for file in done.aside.iterdir()} >= {path.name, "live.sqlite"}
    assert check(tmp_path) == []
    assert known_lost(tmp_path) == [3, 4, 5, 6]


def test_a_file_that_was_written_as_it_is_but_not_by_us_is_not_replaced(tmp_path: Path) -> None:
    path = archived(tmp_path, 3)
    pq.write_table(pa.table({"offset": [3, 4, 5]}), path)
    path.rename(path.with_name(f"{path.stem.rpartition('-')[0]}.parquet"))
    with pytest.raises(LogError, match="not of the log's schema"):
        repair(tmp_path)
    assert not list(tmp_path.glob("damaged-*"))


@settings(max_examples=40)
@given(st.data())
def test_of_an_archived_file_with_flipped_bits_every_record_is_as_it_was_or_lost(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("flipped") / "file.parquet"
    records = [Stored(at, DAY + at, like(f"{data.draw(st.integers(0, 9))}-{at}")) for at in range(60)]
    whole = pa.Table.from_batches([to_batch(records)])
    pq.write_table(whole, path, compression="zstd", row_group_size=20, data_page_size=64, write_page_checksum=True)
    content = bytearray(path.read_bytes())
    for bit in data.draw(st.lists(st.integers(0, 8 * len(content) - 1), min_size=1, max_size=3)):
        content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    left = readable(path, 0, 60)
    assert left.equals(whole.take(left["offset"]))
    mended = filled(left, lost(left, 0, 60), DAY)
    assert mended["offset"].to_pylist() == [*range(60)]
    assert (np.diff(mended["received_ms"].to_numpy()) >= 0).all()


@settings(max_examples=40)
@given(st.data())
def test_a_repair_after_any_flipped_bits_keeps_every_record_that_can_be_read(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("flipped")
    whole(folder, 60)
    with HomeLog(folder, writer=False) as log:
        before = kept(log)
    path = folder / "live.sqlite"
    content = bytearray(path.read_bytes())
    # The first page says what kind of file it is: without it nothing is a database any more.
    bits = data.draw(st.lists(st.integers(8 * 4096, 8 * len(content) - 1), min_size=1, max_size=3))
    for bit in bits:
        content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    faults, done, refused = set[int](), None, ""
    try:
        faults = {fault.offset for fault in check(folder)}
        done = repair(folder)
    except LogError as error:
        refused = error.what
    if refused:
        # Its end cannot be found: it is named, and left as it is.
        assert str(path) in refused
        return
    assert (done is None) == (not faults)
    gone = set(done.lost) if done else set()
    assert gone <= faults
    with HomeLog(folder, writer=True) as log:
        after = kept(log)
        assert len(after) == len(before)
        for offset, (was, now) in enumerate(zip(before, after, strict=True)):
            if offset in gone:
                assert isinstance(now, Lost)
            else:
                # Whom a damaged table of people does not tell any more keeps the name in the log.
                assert msgspec.structs.replace(was, user_id="") == msgspec.structs.replace(now, user_id="")
        assert log.append([like("after")], DAY) == [len(before)]
