"""KuaiRand-Pure as records: a month of exposures and feedback of a short-video app.

Gao et al., "KuaiRand: An Unbiased Sequential Recommendation Dataset with Randomly Exposed Videos", CIKM 2022, doi
10.1145/3511808.3557624, CC BY-SA 4.0. Its wide rows say what became of an exposure; a log says what happened when.
So an exposure becomes an impression at ``time_ms`` and, at ``time_ms + play_time_ms``, the watch and each outcome: the
exit is the only moment by which all of them are surely known, clicks included.

Not recorded: ``long_view`` (the fold derives it), stays on the profile and in the comments, and ``is_rand``. The data
has no request ids. The hour and date columns are wrong for some rows and never read. The statistics of videos
aggregate the whole month, so at any moment of it they hold the future: they are refused.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.errors import SourceError
from features.logs.log import DAY_MS, events_table, records_table
from features.records import Action, Item, Kind, Record, User
from features.types import IntArray
from seeds import kuairand_files as files

OUTCOMES = {
    Action.IMPRESSION: "",
    Action.WATCH: "play_time_ms",
    Action.CLICK: "is_click",
    Action.LIKE: "is_like",
    Action.COMMENT: "is_comment",
    Action.SHARE: "is_forward",
    Action.FOLLOW: "is_follow",
    Action.HIDE: "is_hate",
}
"""The column whose being above 0 tells of an action; the order is that of events of one millisecond."""
_CODES = {action: code for code, action in enumerate(OUTCOMES)}
_UNKNOWN = ("", "UNKNOWN", "-124")
_SHANGHAI_MS = 8 * 3_600_000
_CHUNK_ROWS = 131_072

Progress = Callable[[int, int], None]
Log = dict[str, IntArray]
Attributes = dict[str, str | float]


@dataclass(frozen=True)
class Summary:
    """What was found in a folder, and what was done about its traps.

    ``skipped`` are files and why. ``repeated`` rows tell of an exposure once more and were merged into it;
    ``impossible`` rows, of all files, hold a negative, missing or absurd number and were dropped; ``untimed``
    exposures are of duration 0; ``histories_dropped`` reach into the person's log. Times are those of the first and
    the last exposure.
    """

    files: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]
    users: int
    items: int
    exposures: int
    repeated: int
    impossible: int
    untimed: int
    histories_dropped: int
    first_ms: int
    last_ms: int


class KuaiRand:
    """The official files of KuaiRand-Pure in a folder, as CSV or as Parquet of the same columns.

    Files are known by their columns, whatever they are called. All logs are read as one, in time order.

    Parameters
    ----------
    folder : Path
        Holds at least one log; files of users, videos and history are used where they are there.

    Raises
    ------
    SourceError
        If there is no exposure, or a file cannot be read or lacks a column; the message names both.
    """

    def __init__(self, folder: Path) -> None:
        found, skipped = files.sort_files(folder)
        self._log, repeated, impossible = _read_log(found["log"])
        if not len(self._log["time_ms"]):
            raise _nothing(folder, impossible)
        self._first_ms = int(self._log["time_ms"][0])
        videos, bad_videos = files.read_all(found["videos"], files.VIDEOS, ("video_id",))
        users, bad_users = files.read_all(found["users"], files.USERS, ("user_id",))
        history, bad_history = files.read_all(found["history"], files.HISTORY, ("user_id", "last_time_ms"))
        seen, dropped = _histories(history, self._log)
        items, people = _items(videos, self._log), _users(users, seen, self._first_ms)
        self._catalog: list[Record] = [*items, *people]
        self.summary = Summary(
            files=tuple(path.name for paths in found.values() for path in paths),
            skipped=skipped,
            users=len(people),
            items=len(items),
            exposures=len(self._log["time_ms"]),
            repeated=repeated,
            impossible=impossible + bad_videos + bad_users + bad_history,
            untimed=int((self._log["duration_ms"] == 0).sum()),
            histories_dropped=dropped,
            first_ms=self._first_ms,
            last_ms=int(self._log["time_ms"][-1]),
        )

    def tables(self, progress: Progress = lambda done, of: None) -> Iterator[pa.Table]:
        """Tables of ``features.logs.log.UNPLACED``, together sorted by received_ms, the catalog first.

        The order does not depend on how the rows were spread over files or are cut into tables.

        Parameters
        ----------
        progress : callable
            Told the exposures done and in all, after each table of events.
        """
        yield records_table([(self._first_ms, record) for record in self._catalog])
        times = self._log["time_ms"]
        rows, codes = np.empty(0, np.int64), np.empty(0, np.int64)
        for start in range(0, len(times), _CHUNK_ROWS):
            stop = min(start + _CHUNK_ROWS, len(times))
            new_rows, new_codes = _acts(self._log, start, stop)
            rows, codes = np.concatenate([rows, new_rows]), np.concatenate([codes, new_codes])
            stamps = times[rows] + np.where(codes == _CODES[Action.IMPRESSION], 0, self._log["play_time_ms"][rows])
            order = np.lexsort((rows, codes, stamps))
            rows, codes, stamps = rows[order], codes[order], stamps[order]
            # Exits after the next chunk has begun wait for it.
            ready = len(rows) if stop == len(times) else int(np.searchsorted(stamps, times[stop]))
            yield _events(self._log, rows[:ready], codes[:ready], stamps[:ready])
            rows, codes = rows[ready:], codes[ready:]
            progress(stop, len(times))


def _nothing(folder: Path, impossible: int) -> SourceError:
    if impossible:
        why = "each holds a negative, missing or absurd number"
        what = f"{folder} holds no exposure that can be true: all {impossible:,} rows of its logs were dropped, {why}."
        return SourceError(what, "Use the official files, their values unchanged.")
    return SourceError(f"{folder} holds no exposure.", "Point to the folder that holds the log_*.csv files.")


def _read_log(paths: list[Path]) -> tuple[Log, int, int]:
    """One row an exposure, by time, user, video; with the number of repeated and of impossible rows."""
    table, impossible = files.read_all(paths, files.LOG, files.LOG, optional=("author_id",))
    log = {name: table[name].to_numpy().astype(np.int64) for name in files.LOG}
    log["author_id"] = _whole(table, "author_id")
    keys = [log[name] for name in ("video_id", "user_id", "time_ms")]
    order = np.lexsort(keys)
    fresh = np.zeros(len(order), np.bool_)
    for key in keys:
        fresh |= np.diff(key[order], prepend=-1) != 0
    starts = np.flatnonzero(fresh)
    if len(starts):
        # Whatever one of the rows of an exposure says was done was done.
        log = {name: np.maximum.reduceat(values[order], starts) for name, values in log.items()}
    return log, len(order) - len(starts), impossible


def _acts(log: Log, start: int, stop: int) -> tuple[IntArray, IntArray]:
    """The rows and the action codes of all that was done in the exposures start <= row < stop."""
    done = [np.flatnonzero(log[column][start:stop]) for column in OUTCOMES.values() if column]
    rows = [np.arange(start, stop), *(start + each for each in done)]
    return np.concatenate(rows), np.repeat(np.arange(len(rows)), [len(each) for each in rows])


def _events(log: Log, rows: IntArray, codes: IntArray, stamps: IntArray) -> pa.Table:
    user, video, time, tab = (
        pa.array(log[name][rows]).cast(pa.string()) for name in ("user_id", "video_id", "time_ms", "tab")
    )
    action = pa.array([str(each) for each in OUTCOMES], pa.string()).take(codes)
    dash, scene, nothing = (pa.repeat(pa.scalar(text, pa.string()), len(rows)) for text in ("-", "tab", ""))
    return events_table(
        {
            "received_ms": stamps,
            "ts_ms": stamps,
            "event_id": pc.binary_join_element_wise(user, video, time, action, dash),
            "user_id": user,
            "item_id": video,
            "action": action,
            "value": np.where(codes == _CODES[Action.WATCH], log["play_time_ms"][rows], 0),
            "surface": pc.binary_join_element_wise(scene, tab, nothing),
        }
    )


def _known(value: str | float | None) -> str:
    """A category's text; "" where the data says that it does not know."""
    if isinstance(value, float):
        value = f"{value:.0f}" if math.isfinite(value) else ""
    text = value or ""
    return "" if text in _UNKNOWN else text[:512]


def _attributes(table: pa.Table, categories: tuple[str, ...], numbers: tuple[str, ...]) -> list[Attributes]:
    rows: list[Attributes] = [{} for _ in range(len(table))]
    for name in categories:
        for row, value in zip(rows, table[name].to_pylist(), strict=True):
            if text := _known(value):
                row[name] = text
    for name in numbers:
        for row, value in zip(rows, table[name].to_pylist(), strict=True):
            if value is not None and math.isfinite(value) and value != -124:
                row[name] = value
    return rows


def _whole(table: pa.Table, name: str) -> IntArray:
    """A column of non-negative integers, -1 where it holds anything else."""
    return np.where(files.possible(table, [name]), table[name].to_numpy(), -1).astype(np.int64)


def _items(videos: pa.Table, log: Log) -> list[Item]:
    first_ms = int(log["time_ms"][0])
    durations = _usual_durations(log)
    authors = dict(zip(log["video_id"].tolist(), log["author_id"].tolist(), strict=True))
    items = {video: _item(video, authors[video], durations.get(video, 0), first_ms, 0, {}) for video in authors}
    days = pc.strptime(videos["upload_dt"], format="%Y-%m-%d", unit="ms", error_is_null=True).cast(pa.int64())
    shape = pc.divide(videos["server_height"], videos["server_width"])
    attributes = _attributes(videos.append_column("aspect", shape), files.VIDEO_TEXTS + files.VIDEO_CODES, ("aspect",))
    wholes = (_whole(videos, name).tolist() for name in ("video_id", "author_id", "video_duration"))
    for video, author, duration, day, known in zip(*wholes, days.to_pylist(), attributes, strict=True):
        items[video] = _item(
            video,
            author if author >= 0 else authors.get(video, -1),
            duration if duration > 0 else durations.get(video, 0),
            first_ms,
            max(day - _SHANGHAI_MS, 0) if day is not None else 0,
            known,
        )
    return [items[video] for video in sorted(items)]


def _item(video: int, author: int, duration_ms: int, ts_ms: int, live_from_ms: int, known: Attributes) -> Item:
    return Item(
        item_id=str(video),
        ts_ms=ts_ms,
        kind=Kind.VIDEO,
        author_id=str(author) if author >= 0 else "",
        category=str(known.get("tag", "")).partition(",")[0][:64],
        duration_ms=duration_ms,
        live_from_ms=live_from_ms,
        attributes=known,
    )


def _usual_durations(log: Log) -> dict[int, int]:
    """The most frequent known duration of each video, of equally frequent ones the longest."""
    timed = log["duration_ms"] > 0
    table = pa.table({"video": log["video_id"][timed], "duration": log["duration_ms"][timed]})
    counted = table.group_by(["video", "duration"]).aggregate([([], "count_all")])
    ranked = counted.sort_by([("count_all", "ascending"), ("duration", "ascending")])
    return dict(zip(_whole(ranked, "video").tolist(), _whole(ranked, "duration").tolist(), strict=True))


def _histories(table: pa.Table, log: Log) -> tuple[dict[int, tuple[int, tuple[str, ...]]], int]:
    """Last time and liked or long-watched videos of each user, oldest first; and how many reach into the log."""
    users, first_rows = np.unique(log["user_id"], return_index=True)
    begins = dict(zip(users.tolist(), log["time_ms"][first_rows].tolist(), strict=True))
    known, dropped = {}, 0
    for row in table.to_pylist():
        user, last_ms = int(row["user_id"]), int(row["last_time_ms"])
        if last_ms >= begins.get(user, last_ms + 1):
            dropped += 1
            continue
        watched, liked, long = (row[name] or [] for name in files.SEQUENCES)
        # All end at the same moment and are cut at the same length: what is no longer among the watched is older.
        wanted, recent = {*liked, *long}, set(watched)
        older = [video for video in (*long, *liked) if video not in recent]
        newest_first = dict.fromkeys(reversed([*older, *(video for video in watched if video in wanted)]))
        videos = [str(video) for video in newest_first if video is not None and video >= 0]
        known[user] = last_ms, tuple(reversed(videos[:4096]))
    return known, dropped


def _users(table: pa.Table, histories: dict[int, tuple[int, tuple[str, ...]]], first_ms: int) -> list[User]:
    first_day_ms = (first_ms + _SHANGHAI_MS) // DAY_MS * DAY_MS - _SHANGHAI_MS
    rows = _attributes(table, files.USER_TEXTS + files.USER_CODES, files.USER_NUMBERS)
    attributes = dict(zip(_whole(table, "user_id").tolist(), rows, strict=True))
    people = []
    for user in sorted(attributes.keys() | histories.keys()):
        known = attributes.get(user, {})
        last_ms, history = histories.get(user, (first_ms, ()))
        days = known.get("register_days", -1.0)
        registered_ms = max(first_day_ms - int(days) * DAY_MS, 0) if isinstance(days, float) and days >= 0 else 0
        stamp_ms = min(last_ms, first_ms)
        people.append(User(str(user), stamp_ms, registered_ms=registered_ms, history=history, attributes=known))
    return people
