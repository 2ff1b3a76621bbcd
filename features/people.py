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

from features.records import Record, Written, decode, encode, encoded

TABLE = "CREATE TABLE IF NOT EXISTS people (user_id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE) WITHOUT ROWID;"
MARK = "~"
"""What a name that was drawn begins with."""
AT_ONCE = 250
"""Ids that one statement asks for."""
REMEMBERED = 1 << 18
"""People who are remembered at most, so that a log of millions is read in bounded memory."""
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
    return pa.Table.from_batches([_renamed(batch, names) for batch in table.to_batches()], table.schema)


class Told:
    """Reads the names in a log as the ids that callers gave; whom nothing links to an id keeps the name.

    Parameters
    ----------
    live : sqlite3.Connection
        Of a live part that has the table, or None for one of before: its names are ids.
    """

    def __init__(self, live: sqlite3.Connection | None) -> None:
        self._live = live
        self._ids: dict[str, str] = {}

    def batch(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """A batch of ``features.log.SCHEMA`` with ids in the place of names."""
        if self._live is None:
            return batch
        self._learn(self._live, pc.unique(batch["user_id"]).to_pylist())
        return _renamed(batch, self._ids)

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

    def _learn(self, live: sqlite3.Connection, names: list[str]) -> None:
        if len(self._ids) > REMEMBERED:
            self._ids.clear()
        fresh = [name for name in names if name not in self._ids]
        self._ids |= dict(zip(fresh, self.ids(fresh), strict=True))


def _looked_up(live: sqlite3.Connection, what: str, keys: Collection[str]) -> dict[str, str]:
    wanted, found = list(keys), dict[str, str]()
    for start in range(0, len(wanted), AT_ONCE):
        some = wanted[start : start + AT_ONCE]
        marks = ", ".join("?" * len(some))
        found |= dict(live.execute(f"SELECT {what} IN ({marks})", some).fetchall())
    return found


def _renamed(batch: pa.RecordBatch, others: Mapping[str, str]) -> pa.RecordBatch:
    """A batch of records whose people are called otherwise, in their column and in their JSON."""
    people = batch["user_id"].dictionary_encode()
    before = people.dictionary.to_pylist()
    after = [others.get(one, one) for one in before]
    if after == before:
        return batch
    renamed = pa.array(after, pa.string()).take(people.indices)
    changed = pc.indices_nonzero(pc.is_in(batch["type"], value_set=pa.array(_PEOPLE)))
    payload = batch["payload"]
    if len(changed):
        texts = payload.to_pylist()
        codes = people.indices.to_pylist()
        for at in changed.to_pylist():
            texts[at] = _spliced(texts[at], before[codes[at]], after[codes[at]])
        payload = pa.array(texts, pa.string())
    at = {name: batch.schema.get_field_index(name) for name in ("user_id", "payload")}
    columns = batch.columns
    columns[at["user_id"]], columns[at["payload"]] = renamed, payload
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)


def _spliced(text: str, before: str, after: str) -> str:
    """A record's JSON with another ``user_id``: a quote within a text is escaped, so the first such key is its own."""
    if before == after:
        return text
    spliced = text.replace(f'"user_id":{encoded(before).decode()}', f'"user_id":{encoded(after).decode()}', 1)
    # JSON of others may have blanks where ours has none.
    return spliced if spliced != text else encode(msgspec.structs.replace(decode(text), user_id=after)).decode()
