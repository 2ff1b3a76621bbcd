"""The door: what callers hand in is made what its types say before anything is done with it."""

from typing import TypeVar

import msgspec

from features.checks import check
from features.errors import RecordError, RequestError
from features.records import Context, Record, Served, Slot, Written, clean
from ranking.api import Ack, Feed, FeedRequest, RankRequest


def checked(record: Record, received_ms: int) -> Written | str:
    """The record as the log will hold it, or why it is refused."""
    try:
        found = clean(record)
        check(found.record, received_ms)
    except RecordError as error:
        return str(error)
    return found


def acknowledged(offset: int | None) -> Ack:
    """What the sender is told of a record that the log has taken."""
    return Ack("duplicate") if offset is None else Ack("accepted", offset)


Asked = TypeVar("Asked", FeedRequest, RankRequest)


def asked(request: Asked, now_ms: int, request_id: str) -> tuple[Asked, int]:
    """The request and its time as their types say, whatever Python put into them.

    Raises
    ------
    RequestError
        Naming the field.
    """
    try:
        page = clean(Served(request_id, now_ms, 0)).record
        return msgspec.convert(msgspec.to_builtins(request), type(request)), page.ts_ms
    except (RecordError, msgspec.MsgspecError, TypeError) as error:
        raise RequestError(f"This is not a request: {error}", "See docs/api.md for the fields.") from error


def record_of(feed: Feed, context: Context) -> Served:
    """A page as the log keeps it."""
    slots = tuple(Slot(item.item_id, item.source, item.propensity, item.boost_spent, item.sells) for item in feed.items)
    return Served(
        feed.request_id,
        feed.now_ms,
        feed.read_offset,
        feed.user_id,
        context,
        feed.bundle,
        feed.policy,
        slots,
        feed.level,
        feed.degraded,
    )
