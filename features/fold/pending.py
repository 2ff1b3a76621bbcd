"""A batch of the log made ready for the kernel: its ids turned into rows, what the kernel cannot fold set apart."""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.fold.arrays import Steps
from features.fold.counters import NO_ACTION
from features.ids import Ids
from features.layout import ACTION_CODE
from features.records import Action, Control, Record, User, decode
from features.types import ByteArray, HashArray, IntArray, RowArray

# Of the columns' own type: what is not, pyarrow looks for anew in modules that may not be there, at every call.
_OF_PEOPLE = pa.array(["user", "control"], pa.string())
_HIDE = pa.scalar(str(Action.HIDE), pa.string())
_NONE = pa.scalar(NO_ACTION, pa.int32())
_ACTIONS = pa.array(list(ACTION_CODE), pa.string())
_EVENT_OR_PAGE = pa.array(["event", "served", "decision"], pa.string())
"""A served page and what was decided for it are context for replay and change nothing: the kernel passes over them."""


class Unpacked(NamedTuple):
    """What of a batch needs no state, so that it can be made while another batch is folded.

    Attributes
    ----------
    batch : pa.RecordBatch
    slow : sequence of int
        Positions of what the kernel cannot fold: records that are no events, and hides, which are events and more.
    payloads : pa.Array
        The JSON of each of them, empty for a hide; read one by one, as many records at once would fill the memory.
    named : sequence of (int, sequence of str)
        The ids of items that records about people name, by the position of the record.
    action, request : (n,) uint8, uint64
        As in ``Steps``.
    """

    batch: pa.RecordBatch
    slow: Sequence[int]
    payloads: pa.Array
    named: Sequence[tuple[int, Sequence[str]]]
    action: ByteArray
    request: HashArray


class Pending:
    """A batch whose ids are rows of one state already, folded piece by piece.

    Attributes
    ----------
    start : int
        The offset of its first record.
    slow, payloads
        As in ``Unpacked``.
    done, slow_done : int
        How many records, and how many of ``slow``, are folded.
    """

    def __init__(self, start: int, steps: Steps, slow: Sequence[int], payloads: pa.Array) -> None:
        self.start = start
        self.steps = steps
        self.slow = slow
        self.payloads = payloads
        self.done = 0
        self.slow_done = 0

    @property
    def end(self) -> int:
        """The offset after the batch."""
        return self.start + len(self.steps.ts_ms)

    @property
    def plain_end(self) -> int:
        """The offset up to which the kernel folds it alone, from ``done`` on."""
        return self.start + self.slow[self.slow_done] if self.slow_done < len(self.slow) else self.end


def unpack(batch: pa.RecordBatch) -> Unpacked:
    """Set apart of a batch of the log's schema what the kernel cannot fold."""
    changing = pc.invert(pc.is_in(batch["type"], value_set=_EVENT_OR_PAGE))
    where = pc.indices_nonzero(pc.or_(changing, pc.equal(batch["action"], _HIDE)))
    action = pc.fill_null(pc.index_in(batch["action"], value_set=_ACTIONS), _NONE)
    return Unpacked(
        batch=batch,
        slow=where.to_pylist(),
        payloads=batch["payload"].take(where),
        named=_named(batch),
        action=action.to_numpy(zero_copy_only=False).astype(np.uint8),
        request=_hashes(batch["request_id"]),
    )


def prepare(unpacked: Unpacked, start: int, users: Ids, items: Ids) -> Pending:
    """Give the ids of a batch that begins at ``start`` their rows, in its order however it is cut into batches."""
    batch = unpacked.batch
    (user,) = users.enrol([batch["user_id"]])
    item, via = _enrol_items(items, [batch["item_id"], batch["via_item_id"]], unpacked.named)
    steps = Steps(
        action=unpacked.action,
        user=user,
        item=item,
        via=via,
        value=batch["value"].to_numpy(),
        ts_ms=batch["ts_ms"].to_numpy(),
        received_ms=batch["received_ms"].to_numpy(),
        request=unpacked.request,
    )
    return Pending(start, steps, unpacked.slow, unpacked.payloads)


def _named(batch: pa.RecordBatch) -> list[tuple[int, Sequence[str]]]:
    """The ids of items that records about people name, by the position of the record."""
    where = pc.indices_nonzero(pc.is_in(batch["type"], value_set=_OF_PEOPLE))
    texts = batch["payload"].take(where).to_pylist()
    return [(at, _item_ids(decode(text))) for at, text in zip(where.to_pylist(), texts, strict=True)]


def _item_ids(record: Record) -> Sequence[str]:
    match record:
        case User():
            return record.history
        case Control(command="hide_item"):
            return (record.target,)
        case _:
            return ()


def _enrol_items(items: Ids, columns: Sequence[pa.Array], named: Sequence[tuple[int, Sequence[str]]]) -> RowArray:
    """Rows (columns, n) of ids in columns, and rows for those inside records, which come after their line."""
    parts, start = [], 0
    for at, names in named:
        if names:
            parts.append(items.enrol([column.slice(start, at + 1 - start) for column in columns]))
            items.enrol([pa.array(names, pa.string())])
            start = at + 1
    parts.append(items.enrol([column.slice(start) for column in columns]))
    # Rows that lie together whatever they were made of: a kernel is compiled for each way in which arrays may lie.
    return np.ascontiguousarray(np.concatenate(parts, axis=1))


def _hashes(ids: pa.Array) -> HashArray:
    encoded = ids.dictionary_encode()
    digests = [
        int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little") if name else 0
        for name in encoded.dictionary.to_pylist()
    ]
    where: IntArray = encoded.indices.to_numpy()
    return np.array(digests, np.uint64)[where]
