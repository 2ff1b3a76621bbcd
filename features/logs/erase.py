"""Erasing a person: the link to their name is cut, and every record of theirs goes on without what they said.

What they did to items stays, so that an item's counters keep their bits; that it was one person stays, who it was does
not. Ids that a client gave to events and requests may hold the person's own: they become digests, and a repeat of an
event is still known by its digest. Who clears their history stays known, and where they were goes all the same.
"""

import hashlib
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.logs.log import NO_CONTEXT, Stored, from_batch, to_batch
from features.records import Control, Decision, Erase, Event, Record, Served, User

DIGEST = "#"
"""What a digest in the place of an id begins with."""


class Erasure(NamedTuple):
    """Whose records before an offset to scrub: the person's ``name`` in the log, and the one they go on under.

    It is another where a log of before knew the person by the id, and "" for a history that was only cleared.
    """

    name: str
    after: str
    stop: int


def digest(name: str) -> str:
    """What stands for an id that is erased; "" stays, and so does a digest."""
    is_digest = name.startswith(DIGEST) and len(name) == 33
    return name if not name or is_digest else DIGEST + hashlib.blake2b(name.encode(), digest_size=16).hexdigest()


def scrubbed(record: Record, erasure: Erasure) -> Record:
    """A person's record as it stays, without its context; of who is erased without all they are described by, too."""
    replace, after = msgspec.structs.replace, erasure.after
    match record:
        case Event() | Served() if not after:
            return replace(record, context=NO_CONTEXT)
        case Event():
            ids = {"event_id": digest(record.event_id), "request_id": digest(record.request_id)}
            return replace(record, user_id=after, context=NO_CONTEXT, **ids)
        case Served():
            return scrubbed_page(record, after)
        case Decision() if after:
            return replace(record, request_id=digest(record.request_id))
        case User() if after:
            # The items of a history keep their place: rows are given in the order of the log.
            return User(after, record.ts_ms, history=record.history)
        case Control() | Erase() if after:
            return replace(record, user_id=after)
        case _:
            return record


def scrubbed_page(page: Served, after: str) -> Served:
    """A served page as it stays."""
    return msgspec.structs.replace(page, user_id=after, context=NO_CONTEXT, request_id=digest(page.request_id))


def ids_of(table: pa.Table, erasures: Sequence[Erasure]) -> list[str]:
    """The ids of the events in a table that are to become digests."""
    mine = _theirs(table, [erasure for erasure in erasures if erasure.after])
    return [name for name in table["event_id"].filter(mine).to_pylist() if name]


def scrubbing(erasures: Sequence[Erasure]) -> Callable[[pa.Table], pa.Table | None]:
    """What makes of a table of the log one without these people, or nothing where none of them is in it."""

    def scrub(table: pa.Table) -> pa.Table | None:
        mine = _theirs(table, erasures)
        gone = _theirs(table, [erasure for erasure in erasures if erasure.after])
        pages = pc.unique(table["request_id"].filter(pc.and_(gone, pc.equal(table["type"], "served"))))
        decided = pc.and_(pc.equal(table["type"], "decision"), pc.is_in(table["request_id"], value_set=pages))
        mine = pc.or_(mine, decided)
        theirs = [one for batch in table.filter(mine).to_batches() for one in from_batch(batch)]
        if not theirs:
            return None
        kept = [Stored(at, received_ms, after_all(record, at, erasures)) for at, received_ms, record, _ in theirs]
        whole = pa.concat_tables([table.filter(pc.invert(mine)), pa.Table.from_batches([to_batch(kept)])])
        return whole.take(np.argsort(whole["offset"].to_numpy()))

    return scrub


def names(erasures: Collection[Erasure]) -> pa.Array:
    """Whom the records to scrub name."""
    return pa.array([erasure.name for erasure in erasures], pa.string())


def _theirs(table: pa.Table, erasures: Sequence[Erasure]) -> pa.ChunkedArray:
    """Which records (n,) are of people to be scrubbed."""
    stops = {erasure.name: 0 for erasure in erasures}
    for erasure in erasures:
        stops[erasure.name] = max(stops[erasure.name], erasure.stop)
    place = pc.index_in(table["user_id"], value_set=pa.array(stops, pa.string()))
    before = pa.array(list(stops.values()), pa.int64()).take(place.combine_chunks())
    return pa.chunked_array([pc.fill_null(pc.less(table["offset"].combine_chunks(), before), False)])


def after_all(record: Record, at: int, erasures: Sequence[Erasure]) -> Record:
    """A record after everything that was asked for of its person; a decision names nobody and is only ever digested."""
    for erasure in erasures:
        is_theirs = getattr(record, "user_id", erasure.name) == erasure.name
        if is_theirs and at < erasure.stop and (erasure.after or not isinstance(record, Decision)):
            record = scrubbed(record, erasure)
    return record
