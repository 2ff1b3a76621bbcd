"""A batch of the log made ready for the kernel: its ids turned into rows, what the kernel cannot fold set apart."""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.arrays import Steps
from features.counters import NO_ACTION
from features.records import Action, Control, Record, User, decode
from features.schema import ACTION_CODE
from features.types import HashArray, IntArray, RowArray
from features.vocabulary import Vocabulary

_EVENT_OR_PAGE = pa.array(["event", "served"])
"""A served page is context for replay and changes nothing: the kernel passes over it."""


class Pending:
    """A batch whose ids are rows of one state already, folded piece by piece.

    Attributes
    ----------
    start : int
        The offset of its first record.
    slow : sequence of (int, Record or None)
        By position: records that are no events, and None for a hide, which is an event and more.
    done, slow_done : int
        How many records, and how many of ``slow``, are folded.
    """

    def __init__(self, start: int, steps: Steps, slow: Sequence[tuple[int, Record | None]]) -> None:
        self.start = start
        self.steps = steps
        self.slow = slow
        self.done = 0
        self.slow_done = 0

    @property
    def end(self) -> int:
        """The offset after the batch."""
        return self.start + len(self.steps.ts_ms)


def prepare(batch: pa.RecordBatch, users: Vocabulary, items: Vocabulary) -> Pending:
    """Give the ids of a batch their rows, in the order of the log however it is cut into batches."""
    slow = _slow_records(batch)
    named = {i: _item_ids(record) for i, record in slow if record}
    (user,) = _enroll(users, [batch["user_id"]], {})
    item, via = _enroll(items, [batch["item_id"], batch["via_item_id"]], named)
    action = pc.fill_null(pc.index_in(batch["action"], value_set=pa.array(list(ACTION_CODE))), NO_ACTION)
    steps = Steps(
        action=action.to_numpy(zero_copy_only=False).astype(np.uint8),
        user=user,
        item=item,
        via=via,
        value=batch["value"].to_numpy(),
        ts_ms=batch["ts_ms"].to_numpy(),
        received_ms=batch["received_ms"].to_numpy(),
        request=_hashes(batch["request_id"]),
    )
    return Pending(batch["offset"][0].as_py(), steps, slow)


def _slow_records(batch: pa.RecordBatch) -> list[tuple[int, Record | None]]:
    """Positions of what the kernel cannot fold: records that change the state and are no events, and hides (None)."""
    changing = pc.invert(pc.is_in(batch["type"], value_set=_EVENT_OR_PAGE))
    other = pc.or_(changing, pc.equal(batch["action"], str(Action.HIDE)))
    where = pc.indices_nonzero(other)
    payloads = batch["payload"].take(where).to_pylist()
    return [(i, decode(text) if text else None) for i, text in zip(where.to_pylist(), payloads, strict=True)]


def _item_ids(record: Record) -> Sequence[str]:
    match record:
        case User():
            return record.history
        case Control(command="hide_item"):
            return (record.target,)
        case _:
            return ()


def _enroll(vocabulary: Vocabulary, columns: Sequence[pa.Array], named: Mapping[int, Sequence[str]]) -> list[RowArray]:
    """Rows of ids in several columns and inside records, given in the order of the log however it is batched."""
    encoded = [column.dictionary_encode() for column in columns]
    first: list[tuple[int, int, Sequence[str]]] = [(i, len(columns), ids) for i, ids in named.items()]
    for order, column in enumerate(encoded):
        positions = np.unique(column.indices.to_numpy(), return_index=True)[1]
        first += [(int(i), order, (name,)) for i, name in zip(positions, column.dictionary.to_pylist(), strict=True)]
    for _, _, ids in sorted(first, key=lambda entry: entry[:2]):
        for name in ids:
            vocabulary.add(name)
    return [vocabulary.find_all(c.dictionary.to_pylist())[c.indices.to_numpy()] for c in encoded]


def _hashes(ids: pa.Array) -> HashArray:
    encoded = ids.dictionary_encode()
    digests = [
        int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little") if name else 0
        for name in encoded.dictionary.to_pylist()
    ]
    where: IntArray = encoded.indices.to_numpy()
    return np.array(digests, np.uint64)[where]
