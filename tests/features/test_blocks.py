"""Marks of whom a stretch of the live part names: what is passed over names nobody who is looked for."""

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import RecordError
from features.logs import blocks, erasing, people, rows
from features.logs.erase import Erasure
from features.logs.live import HomeLog
from features.logs.log import DAY_MS, from_batch
from features.records import Action, Event, Record

NOW = 20_000 * DAY_MS
SIZE = 10


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK", SIZE)


def deeds(users: list[int], first: int) -> list[Record]:
    """An event each; person 0 is nobody."""
    return [
        Event(f"e{n}", NOW, "i1", Action.CLICK, f"u{user}") if user else Event(f"e{n}", NOW, "i1", Action.ROOM_PULSE)
        for n, user in enumerate(users, first)
    ]


def found(log: HomeLog, user_id: str) -> tuple[list[int], list[tuple[int, int]]]:
    """The offsets of a person's records, and the stretches that were looked at."""
    with closing(rows.reader(log._path)) as live:
        name = people.names_of(live, [user_id]).get(user_id, "~nobody")
        erasure = Erasure(name, name, log.end())
        return erasing.of_people(live, [erasure]), list(blocks.naming(live, [name], 0, log.end()))


def held(log: HomeLog, user_id: str) -> list[int]:
    records = [one for batch in log.read() for one in from_batch(batch)]
    return [one.offset for one in records if people.who(one.record) == user_id]


@given(
    batches=st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=35), min_size=1, max_size=6),
    reopened=st.lists(st.booleans(), min_size=6, max_size=6),
)
def test_every_record_of_a_person_is_found_however_it_came(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[int]], reopened: list[bool]
) -> None:
    folder, first = tmp_path_factory.mktemp("log"), 0
    log = HomeLog(folder, writer=True, durability="relaxed")
    for users, again in zip(batches, reopened, strict=False):
        log.append(deeds(users, first), NOW)
        # What came before changes nothing, and takes no offset.
        log.append(deeds(users, first)[:3], NOW)
        first += len(users)
        if again:
            log.close()
            log = HomeLog(folder, writer=True, durability="relaxed")
    for user in range(5):
        assert found(log, f"u{user}")[0] == held(log, f"u{user}")
    log.close()


def test_stretches_without_a_person_are_passed_over_and_damaged_marks_are_not_believed(tmp_path: Path) -> None:
    with HomeLog(tmp_path, writer=True) as log:
        log.append(deeds([1] * 34 + [2] + [1] * 20, 0), NOW)
        assert found(log, "u2") == ([34], [(30, 40), (50, 55)])
        assert found(log, "u9") == ([], [(50, 55)])
        log._live.execute("UPDATE blocks SET marks = x'' WHERE block = 3")
        assert found(log, "u9") == ([], [(30, 40), (50, 55)])


def test_an_append_that_failed_leaves_no_gap(tmp_path: Path) -> None:
    with HomeLog(tmp_path, writer=True) as log:
        log.append(deeds([1] * 8, 0), NOW)
        with pytest.raises(RecordError):
            log.append([*deeds([2] * 30, 100), Event("e", 1 << 70, "i1", Action.CLICK, "u2")], NOW)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(blocks.Blocks, "take", cut_off(blocks.Blocks.take))
            with pytest.raises(OSError, match="cut off"):
                log.append(deeds([2] * 30, 100), NOW)
        log.append(deeds([3] * 30, 200), NOW)
        assert (found(log, "u2")[0], found(log, "u3")[0]) == ([], list(range(8, 38)))


def cut_off(take: object) -> object:
    def failing(*arguments: object) -> None:
        assert callable(take)
        take(*arguments)
        raise OSError("cut off")

    return failing


def test_marks_leave_with_the_records(tmp_path: Path) -> None:
    with HomeLog(tmp_path, writer=True) as log:
        log.append(deeds([1] * 25, 0), NOW)
        log.append(deeds([2] * 25, 25), NOW + DAY_MS)
        log.archive(NOW + DAY_MS)
        kept = [block for (block,) in log._live.execute("SELECT block FROM blocks ORDER BY block")]
        assert kept == [2, 3, 4]
        assert found(log, "u2")[0] == list(range(25, 50))
        rng = np.random.default_rng(0)
        log.append(deeds(rng.integers(1, 5, 100).tolist(), 50), NOW + DAY_MS)
        assert found(log, "u3")[0] == [at for at in held(log, "u3") if at >= 25]
