"""A damaged log stops at the offset where it is damaged, and a repair keeps all that can be read."""

import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import LogError
from features.live import HomeLog
from features.records import Event, Lost
from features.repair import check, repair
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


def test_a_damaged_archived_file_is_named_and_not_replaced(tmp_path: Path) -> None:
    whole(tmp_path, 3)
    (path,) = tmp_path.glob("archive/*/*")
    path.write_bytes(path.read_bytes()[:-9])
    assert [(fault.offset, fault.archived) for fault in check(tmp_path)] == [(0, True)]
    with pytest.raises(LogError, match="Restore the file from a copy"):
        repair(tmp_path)


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
    lost = set(done.lost) if done else set()
    assert lost <= faults
    with HomeLog(folder, writer=True) as log:
        after = kept(log)
        assert len(after) == len(before)
        for offset, (was, now) in enumerate(zip(before, after, strict=True)):
            if offset in lost:
                assert isinstance(now, Lost)
            else:
                # Whom a damaged table of people does not tell any more keeps the name in the log.
                assert msgspec.structs.replace(was, user_id="") == msgspec.structs.replace(now, user_id="")
        assert log.append([like("after")], DAY) == [len(before)]
