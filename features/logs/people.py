"""Who is who: the one table that links a person's id with the name, drawn by lot, that log and snapshots know them by.

Without its row nobody can tell whose a name was. Homes of before there was the table know a person by the id itself,
which stands in the table as its own name until the person is erased.
"""

import secrets
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from features.ids import Ids
from features.records import Record, Written, decode, encode, encoded

TABLE = "CREATE TABLE IF NOT EXISTS people (user_id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE) WITHOUT ROWID;"
MARK = "~"
"""What a name that was drawn begins with."""
AT_ONCE = 250
"""Ids that one statement asks for."""
REMEMBERED = 1 << 20
"""People who are remembered at most while a log is read, in some 100 bytes each."""
AT_HAND = 1 << 17
"""People whose names a writer keeps at hand at most."""
_PEOPLE = ("user", "control", "served", "erase")


def drawn_name() -> str:
    """A name that nobody can trace or guess."""
    return f"{MARK}{secrets.token_urlsafe(16)}"


def who(record: Record) -> str:
    """The person whom a record is about, "" where it is about nobody."""
    found: str = getattr(record, "user_id", "")
    return found


def named(kept: Written, names: Mapping[str, str]) -> bytes:
    """A record's JSON with the person's name in the place of the id."""
    user_id = who(kept.record)
    if not user_id:
        return kept.body
    return encode(msgspec.structs.replace(kept.record, user_id=names[user_id]))


def names_of(live: sqlite3.Connection, user_ids: Collection[str]) -> dict[str, str]:
    """The names of those people who have one."""
    return _looked_up(live, "user_id, name FROM people WHERE user_id", user_ids)


def ids_of(live: sqlite3.Connection, names: Collection[str]) -> dict[str, str]:
    """The ids of those people whose names the table holds."""
    return _looked_up(live, "name, user_id FROM people WHERE name", names)


def enrolled(live: sqlite3.Connection, user_ids: Collection[str]) -> dict[str, str]:
    """The names of people, drawn now for those who have none; within a transaction."""
    found = names_of(live, user_ids)
    drawn = {user_id: drawn_name() for user_id in user_ids if user_id not in found}
    live.executemany("INSERT INTO people VALUES (?, ?)", drawn.items())
    return found | drawn


def take_as_they_are(live: sqlite3.Connection, user_ids: Iterable[str]) -> None:
    """Let people whom a log of before knows by their ids go on under these."""
    live.executemany("INSERT OR IGNORE INTO people VALUES (?, ?)", ((one, one) for one in user_ids if one))


def forget(live: sqlite3.Connection, user_id: str) -> None:
    """Cut the link to a person."""
    live.execute("DELETE FROM people WHERE user_id = ?", (user_id,))


def named_table(table: pa.Table, names: Mapping[str, str]) -> pa.Table:
    """A table of records with names in the place of ids."""

    def renamed(batch: pa.RecordBatch) -> pa.RecordBatch:
        people = batch["user_id"].dictionary_encode()
        after = [names.get(one, one) for one in people.dictionary.to_pylist()]
        return _renamed(batch, pa.array(after, pa.string()).take(people.indices))

    return pa.Table.from_batches(map(renamed, table.to_batches()), table.schema)


class Told:
    """Reads the names in a log as the ids that callers gave; whom nothing links to an id keeps the name.

    Parameters
    ----------
    live : sqlite3.Connection
        Of a live part that has the table, or None for one of before: its names are ids.
    """

    def __init__(self, live: sqlite3.Connection | None) -> None:
        self._live = live
        self._begin()

    def _begin(self) -> None:
        self._rows, self._ids = Ids(), pa.array([""], pa.string())

    def batch(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """A batch of ``features.logs.log.SCHEMA`` with ids in the place of names."""
        if self._live is None:
            return batch
        if len(self._rows) > REMEMBERED:
            self._begin()
        known = len(self._rows)
        (rows,) = self._rows.enrol([batch["user_id"]])
        fresh = [self._rows.name(row) for row in range(known, len(self._rows))]
        self._ids = pa.concat_arrays([self._ids, pa.array(self.ids(fresh), pa.string())]) if fresh else self._ids
        return _renamed(batch, self._ids.take(pa.array(rows)))

    def ids(self, names: Sequence[str]) -> list[str]:
        """The ids of people by their names, in order."""
        if self._live is None:
            return list(names)
        found = ids_of(self._live, [name for name in names if name.startswith(MARK)])
        return [found.get(name, name) for name in names]

    def names(self, user_ids: Sequence[str]) -> list[str]:
        """The names of people by their ids, in order; who has none keeps the id."""
        if self._live is None:
            return list(user_ids)
        found = names_of(self._live, user_ids)
        return [found.get(one, one) for one in user_ids]


def _looked_up(live: sqlite3.Connection, what: str, keys: Collection[str]) -> dict[str, str]:
    wanted, found = list(keys), dict[str, str]()
    for start in range(0, len(wanted), AT_ONCE):
        some = wanted[start : start + AT_ONCE]
        marks = ", ".join("?" * len(some))
        found |= dict(live.execute(f"SELECT {what} IN ({marks})", some).fetchall())
    return found


def _renamed(batch: pa.RecordBatch, after: pa.Array) -> pa.RecordBatch:
    """A batch of records whose people are called otherwise, in their column and in their JSON."""
    changed = pc.indices_nonzero(pc.is_in(batch["type"], value_set=pa.array(_PEOPLE)))
    payload = batch["payload"]
    if len(changed):
        texts = payload.to_pylist()
        befores, afters = (column.take(changed).to_pylist() for column in (batch["user_id"], after))
        for at, *names in zip(changed.to_pylist(), befores, afters, strict=True):
            texts[at] = _spliced(texts[at], *names)
        payload = pa.array(texts, pa.string())
    columns = batch.columns
    columns[batch.schema.get_field_index("user_id")] = after
    columns[batch.schema.get_field_index("payload")] = payload
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)


def _spliced(text: str, before: str, after: str) -> str:
    """A record's JSON with another ``user_id``: a quote within a text is escaped, so the first such key is its own."""
    if before == after:
        return text
    spliced = text.replace(f'"user_id":{encoded(before).decode()}', f'"user_id":{encoded(after).decode()}', 1)
    # JSON of others may have blanks where ours has none.
    return spliced if spliced != text else encode(msgspec.structs.replace(decode(text), user_id=after)).decode()
