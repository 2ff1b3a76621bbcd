"""Arrays that grow in place: what was written stays where it is, whoever holds it."""

import mmap

import numpy as np
import pytest

from features.fold import stretch
from features.fold.stretch import Stretch
from features.types import FloatArray, IntArray


def test_an_array_grows_where_it_lies_and_those_who_hold_it_go_on() -> None:
    rows = Stretch[IntArray]((3,), np.int64)
    before = rows.reserve(1)
    before[0] = (1, 2, 3)
    after = rows.grow(500_000)
    assert after.ctypes.data == before.ctypes.data
    assert after.ctypes.data % 64 == 0
    after[0, 0] = 7
    assert before[0].tolist() == [7, 2, 3]
    assert not after[len(before) :].any()
    assert rows.reserve(400_000) is after


def test_rows_that_come_are_as_a_row_is_at_first() -> None:
    blank = np.array([0, np.nan], np.float32)
    rows = Stretch[FloatArray]((2,), np.float32, blank)
    rows.grow(2)[:] = 5
    grown = rows.grow(4)
    assert (grown[:2] == 5).all()
    assert np.array_equal(grown[2:], [blank, blank], equal_nan=True)


def test_beyond_what_was_reserved_an_array_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stretch, "REACH", 8)
    rows = Stretch[IntArray]((), np.int64, np.array(-1))
    before = rows.grow(8)
    before[:] = range(8)
    after = rows.grow(9)
    assert after.tolist() == [*range(8), -1]
    assert before.tolist() == [*range(8)]
    assert rows.grow(16).ctypes.data == after.ctypes.data


def test_rows_without_a_number_take_nothing() -> None:
    assert Stretch[FloatArray]((4, 0), np.float32).grow(1000).shape == (1000, 4, 0)


def test_where_addresses_are_short_fewer_are_reserved(monkeypatch: pytest.MonkeyPatch) -> None:
    given = mmap.mmap

    def scarce(fileno: int, length: int, flags: int) -> object:
        if length > 1 << 20:
            raise OSError("Cannot allocate memory")
        return given(fileno, length, flags=flags)

    monkeypatch.setattr(mmap, "mmap", scarce)
    rows = Stretch[IntArray]((), np.int64)
    rows.grow(100)[:] = 3
    assert rows.grow(100_000)[:100].tolist() == [3] * 100
    with pytest.raises(OSError, match="Cannot"):
        rows.grow(1_000_000)
    assert rows.array[:100].tolist() == [3] * 100
