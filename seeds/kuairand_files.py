"""The files of KuaiRand-Pure: which is which, which columns are read of each, and which rows can be true."""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from features.errors import SourceError
from features.logs.log import DAY_MS
from features.types import BoolArray

FLAGS = ("is_click", "is_like", "is_comment", "is_forward", "is_follow", "is_hate")
LOG = ("user_id", "video_id", "time_ms", "play_time_ms", "duration_ms", "tab", *FLAGS)
USER_CODES = ("is_lowactive_period", "is_live_streamer", "is_video_author", *(f"onehot_feat{i}" for i in range(18)))
USER_NUMBERS = ("follow_user_num", "fans_user_num", "friend_user_num", "register_days")
USER_TEXTS = ("user_active_degree", *(f"{name}_range" for name in USER_NUMBERS))
USERS = ("user_id", *USER_TEXTS, *USER_CODES, *USER_NUMBERS)
VIDEO_TEXTS = ("video_type", "upload_type", "tag")
VIDEO_CODES = ("music_type",)
VIDEO_NUMBERS = ("author_id", "video_duration", "server_width", "server_height")
VIDEOS = ("video_id", "upload_dt", *VIDEO_TEXTS, *VIDEO_CODES, *VIDEO_NUMBERS)
SEQUENCES = ("watch_seq", "like_seq", "long_watch_seq")
HISTORY = ("user_id", "last_time_ms", *SEQUENCES)

_TYPES: dict[str, pa.DataType] = {
    **dict.fromkeys((*USER_TEXTS, *VIDEO_TEXTS, "upload_dt"), pa.string()),
    **dict.fromkeys(SEQUENCES, pa.list_(pa.int64())),
}
_LIMITS = {"time_ms": 1 << 45, "last_time_ms": 1 << 45, "play_time_ms": DAY_MS, "tab": 1_000}
"""The highest value of a column that can be true, else 2^53; no watch is longer than a day."""


def sort_files(folder: Path) -> tuple[dict[str, list[Path]], tuple[tuple[str, str], ...]]:
    """The files of a folder by what they hold, known by their columns; and those left out, with the reason."""
    if not folder.is_dir():
        raise SourceError(f"{folder} is not a folder.", "Point to the folder that holds the log_*.csv files.")
    files: dict[str, list[Path]] = {"log": [], "videos": [], "users": [], "history": []}
    skipped = []
    for path in sorted(each for each in folder.iterdir() if each.suffix in {".csv", ".parquet"}):
        columns = _columns_of(path)
        if "show_cnt" in columns or path.name.startswith("video_features_statistic"):
            skipped.append((path.name, "it aggregates the whole period, the future included"))
        elif "video_id" in columns:
            files["log" if "user_id" in columns else "videos"].append(path)
        elif "user_id" in columns:
            files["users" if columns.isdisjoint(HISTORY[1:]) else "history"].append(path)
        else:
            skipped.append((path.name, "it has the columns of no file of KuaiRand-Pure"))
    return files, tuple(skipped)


def _columns_of(path: Path) -> set[str]:
    try:
        if path.suffix == ".parquet":
            return set(pq.read_schema(path).names)
        with pacsv.open_csv(path) as file:
            return set(file.schema.names)
    except (pa.ArrowException, OSError) as error:
        raise SourceError(
            f"{path} cannot be read: {_why(error)}.", "Take it out of the folder or restore it."
        ) from error


def _why(error: Exception) -> str:
    """Without the path, which Arrow repeats."""
    return os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error).rstrip(".")


def _schema(columns: Iterable[str]) -> pa.Schema:
    return pa.schema([(name, _TYPES.get(name, pa.float64())) for name in columns])


def _read(path: Path, columns: Iterable[str], optional: Iterable[str]) -> pa.Table:
    present = _columns_of(path)
    missing = [name for name in columns if name not in present]
    if missing:
        raise SourceError(f"{path} has no column {', '.join(missing)}.", "Use the official file, all its columns kept.")
    wanted = [*columns, *(name for name in optional if name in present)]
    schema = _schema(wanted)
    try:
        if path.suffix == ".parquet":
            with pq.ParquetFile(path) as file:
                return file.read(wanted).select(wanted).cast(schema, safe=False)
        options = pacsv.ConvertOptions(column_types=schema, include_columns=wanted, strings_can_be_null=True)
        return pacsv.read_csv(path, convert_options=options)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise SourceError(
            f"{path} cannot be read: {_why(error)}.", "Use the official file, its values unchanged."
        ) from error


def possible(table: pa.Table, columns: Iterable[str]) -> BoolArray:
    """Which rows hold a whole number that can be true in each of the columns."""
    fit = np.ones(len(table), np.bool_)
    for name in columns:
        values = table[name].to_numpy()
        fit &= (values >= 0) & (values <= _LIMITS.get(name, 1 << 53)) & (values == np.floor(values))
    return fit


def read_all(
    paths: list[Path], columns: tuple[str, ...], keys: tuple[str, ...], optional: tuple[str, ...] = ()
) -> tuple[pa.Table, int]:
    """The rows of all files whose keys can be true, and how many were dropped.

    Optional columns are null in the rows of files that do not have them.
    """
    tables = (_read(path, columns, optional) for path in paths)
    table = pa.concat_tables([_schema(columns + optional).empty_table(), *tables], promote_options="default")
    kept = possible(table, keys)
    return table.filter(pa.array(kept)), int((~kept).sum())
