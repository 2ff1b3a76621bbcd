"""Ids and payloads against a dict and a list, whatever they live through."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features import payloads
from features.ids import Ids
from features.payloads import Payloads

few = st.lists(st.sampled_from(["", "a", "b", "ab", "a\0", "货找人", "🙂", "x" * 300]), max_size=9)
texts = st.lists(st.one_of(st.text(st.characters(exclude_categories=["Cs"]), max_size=4)), max_size=30)


@given(st.lists(st.one_of(few, texts), max_size=6))
def test_ids_get_rows_in_the_order_of_their_first_line(batches: list[list[str]]) -> None:
    ids, rows = Ids(), {"": 0}
    for batch in batches:
        for name in batch:
            rows.setdefault(name, len(rows))
        # A slice, as batches of the log are.
        column = pa.array(["before", *batch, "after"], pa.string()).slice(1, len(batch))
        assert ids.enrol([column])[0].tolist() == [rows[name] for name in batch]
        assert ids.names == list(rows)
    assert len(ids) == len(rows)
    assert [ids.name(row) for row in rows.values()] == list(rows)
    assert ids.find_all([*rows, "not there"]).tolist() == [*rows.values(), 0]
    assert Ids(list(rows)[1:]).names == list(rows)


def test_of_two_columns_the_first_comes_first_on_each_line() -> None:
    ids = Ids()
    columns = [pa.array(["a", "b", "c"]), pa.array(["c", "", "a"])]
    assert ids.enrol(columns).tolist() == [[1, 3, 2], [2, 0, 1]]


def test_text_that_is_no_unicode_is_nobodys_id() -> None:
    assert Ids(["a"]).find("\ud800") == 0


def test_many_ids_keep_their_rows() -> None:
    ids, names = Ids(), [f"u{number}" for number in range(50_000)]
    for start in range(0, len(names), 7_000):
        ids.enrol([pa.array(names[start : start + 7_000])])
    assert ids.find_all(names).tolist() == list(range(1, len(names) + 1))


@given(st.lists(st.tuples(st.integers(0, 90), st.binary(max_size=24)), max_size=300))
def test_payloads_are_what_was_written_last(writes: list[tuple[int, bytes]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(payloads, "BLOCK", 64)
        kept, rows = Payloads(), {}
        for row, text in writes:
            kept[row] = rows[row] = text
        assert list(kept.first(100)) == [rows.get(row, b"") for row in range(100)]
        there = [row for row, text in rows.items() if text]
        assert kept.listed(np.array(there, np.int32)) == b"[%b]" % b",".join(rows[row] for row in there)
        # Half of a block may be dead, and the last one as it fills.
        assert kept.nbytes - 12 * max(64, 182) <= 2 * sum(map(len, rows.values())) + 2 * 64 + 24
