"""Erasing a person: every record of theirs goes on under a name drawn by lot, without what they said of themselves.

What they did to items stays, so that an item's counters keep their bits; that it was one person stays, who it was does
not. Ids that a client gave to events and requests may hold the person's own: they become digests, and a repeat of an
event is still known by its digest.
"""

import hashlib
import secrets
from collections.abc import Callable
from typing import NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.log import NO_CONTEXT, Stored, from_batch, to_batch
from features.records import Control, Erase, Event, Record, Served, User

DIGEST = "#"
"""What a digest in the place of an id begins with."""


class Erasure(NamedTuple):
    """Whose records before an offset go on under which name."""

    user_id: str
    after: str
    stop: int


def drawn_name() -> str:
    """A name that nobody can trace or guess."""
    return f"~{secrets.token_urlsafe(16)}"


def digest(name: str) -> str:
    """What stands for an id that is erased; "" stays, and so does a digest."""
    is_digest = name.startswith(DIGEST) and len(name) == 33
    return name if not name or is_digest else DIGEST + hashlib.blake2b(name.encode(), digest_size=16).hexdigest()


def scrubbed(record: Record, after: str) -> Record:
    """A person's record as it stays: under another name, its context and all that the person is described by gone."""
    replace = msgspec.structs.replace
    match record:
        case Event():
            ids = {"event_id": digest(record.event_id), "request_id": digest(record.request_id)}
            return replace(record, user_id=after, context=NO_CONTEXT, **ids)
        case Served():
            return scrubbed_page(record, after)
        case User():
            # The items of a history keep their place: rows are given in the order of the log.
            return User(after, record.ts_ms, history=record.history)
        case Control() | Erase():
            return replace(record, user_id=after)
        case _:
            return record


def scrubbed_page(page: Served, after: str) -> Served:
    """A served page as it stays."""
    return msgspec.structs.replace(page, user_id=after, context=NO_CONTEXT, request_id=digest(page.request_id))


def scrubbing(erasure: Erasure) -> Callable[[pa.Table], pa.Table | None]:
    """What makes of a table of the log one without the person, or nothing where the person is not in it."""

    def scrub(table: pa.Table) -> pa.Table | None:
        mine = pc.and_(pc.equal(table["user_id"], erasure.user_id), pc.less(table["offset"], erasure.stop))
        theirs = [one for batch in table.filter(mine).to_batches() for one in from_batch(batch)]
        if not theirs:
            return None
        kept = [Stored(at, received_ms, scrubbed(record, erasure.after)) for at, received_ms, record, _ in theirs]
        whole = pa.concat_tables([table.filter(pc.invert(mine)), pa.Table.from_batches([to_batch(kept)])])
        return whole.take(np.argsort(whole["offset"].to_numpy()))

    return scrub
