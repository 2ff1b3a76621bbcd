"""Erasing in a log's live part: whom it is due to, which records are theirs, and what is left of them."""

import sqlite3
from collections.abc import Sequence

from msgspec import json

from features.logs import blocks, people
from features.logs.erase import Erasure, after_all, digest, scrubbed
from features.logs.rows import crc
from features.records import Decision, Event, Record, Served, decode, encode, encoded

SCRUBBED = 1_000
"""Records that one transaction scrubs at most."""
DUE = "SELECT user_id, after, stop FROM erasures ORDER BY rowid"
_FIRST = "SELECT min(offset) FROM records"
_AT = "SELECT received_ms, body FROM records WHERE offset = ?"
_OF_PEOPLE = """
SELECT offset FROM (
    SELECT offset, substr(body, instr(body, :key) + :begin) AS rest FROM records
    WHERE offset >= :low AND offset < :high AND instr(body, :key))
WHERE CAST(substr(rest, 1, instr(rest, :quote) - 1) AS TEXT) IN (SELECT value FROM json_each(:names)) ORDER BY offset"""


def begin(live: sqlite3.Connection, erasure: Erasure) -> None:
    """Remember whom to erase until it is done."""
    live.execute("INSERT INTO erasures VALUES (?, ?, ?)", erasure)
    _count(live, erasure)


def of_people(live: sqlite3.Connection, erasures: Sequence[Erasure]) -> list[int]:
    """The offsets of the records to scrub, in order, and of some whose person's id is alike up to a quote.

    One read of the stretches of the live part that may name any of them, however many people there are.
    """
    # A quote within a text is escaped: the first such key of a record is its own.
    key, quote = b'"user_id":', b'"'
    names = {encoded(erasure.name)[1:].split(quote)[0].decode() for erasure in erasures}
    wanted = {"key": key + quote, "begin": len(key) + 1, "quote": quote, "names": json.encode(names).decode()}
    first = live.execute(_FIRST).fetchone()[0] or 0
    stop = max(erasure.stop for erasure in erasures)
    stretches = blocks.naming(live, {erasure.name for erasure in erasures}, first, stop)
    found = [live.execute(_OF_PEOPLE, wanted | {"low": low, "high": high}).fetchall() for low, high in stretches]
    return [offset for some in found for (offset,) in some]


def scrub(live: sqlite3.Connection, erasures: Sequence[Erasure], offsets: Sequence[int]) -> None:
    """Take people out of records of the live part."""
    for offset in offsets:
        (received_ms, body) = live.execute(_AT, (offset,)).fetchone()
        record = decode(body)
        theirs = [one for one in erasures if one.name == people.who(record) and offset < one.stop]
        if (after := after_all(record, offset, erasures)) != record:
            _replace(live, offset, received_ms, after)
        gone = [one for one in theirs if one.after]
        if gone and isinstance(record, Event):
            hide_ids(live, [record.event_id])
        if gone and isinstance(record, Served):
            _scrub_decision(live, offset + 1, record, gone[0])


def _scrub_decision(live: sqlite3.Connection, offset: int, page: Served, erasure: Erasure) -> None:
    """Take a page's name out of its decision, if that is what stands behind it."""
    for received_ms, body in live.execute(_AT, (offset,)).fetchall():
        decision = decode(body)
        if isinstance(decision, Decision) and decision.request_id == page.request_id:
            _replace(live, offset, received_ms, scrubbed(decision, erasure))


def unname(live: sqlite3.Connection, erasures: Sequence[Erasure]) -> list[Erasure]:
    """Take ids out of what is due, where a log of before knew people by them; what is due then.

    The records go by the other names already.
    """
    after = [one._replace(name=one.after) if one.after else one for one in erasures]
    update = "UPDATE erasures SET user_id = ? WHERE user_id = ? AND after = ? AND stop = ?"
    live.executemany(update, ((new.name, *old) for new, old in zip(after, erasures, strict=True)))
    return after


def end(live: sqlite3.Connection, erasures: Sequence[Erasure]) -> None:
    """Take people out of those to erase: it is done."""
    for erasure in erasures:
        live.execute("DELETE FROM erasures WHERE user_id = ? AND after = ? AND stop = ?", erasure)
        _count(live, erasure)


def _count(live: sqlite3.Connection, erasure: Erasure) -> None:
    if erasure.after:
        live.execute("UPDATE erased SET turns = turns + 1")


def _replace(live: sqlite3.Connection, offset: int, received_ms: int, record: Record) -> None:
    body = encode(record)
    update = "UPDATE records SET body = ?, crc = ? WHERE offset = ?"
    live.execute(update, (body, crc(offset, received_ms, body), offset))


def hide_ids(live: sqlite3.Connection, event_ids: Sequence[str]) -> None:
    """Keep digests in the place of event ids."""
    pairs = [(digest(one), one) for one in event_ids]
    live.executemany("UPDATE OR REPLACE event_ids SET event_id = ? WHERE event_id = ?", pairs)
