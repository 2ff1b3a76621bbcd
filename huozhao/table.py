"""The training table as a Parquet file: what was known at every impression's moment, and what became of it."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.errors import TrainingError
from features.history import History, Slates, read_history, slates_of
from features.log import EventLog
from features.outcomes import KIND_NAMES
from features.replay import replay
from features.types import BoolArray, FloatArray
from training.examples import choose_codes, default_features
from training.factors import fit_by_day
from training.labels import Labels, label
from training.pipeline import readers_of
from training.progress import Progress, staged


def write_table(
    log: EventLog, out: Path, *, since_ms: int | None, until_ms: int | None, seed: int, progress: Progress
) -> tuple[int, int]:
    """Write keys, features and labels of the impressions received from ``since_ms`` to before ``until_ms``.

    Features of one day are read with factors fitted on the days before it. ``y.`` columns are null where the head's
    window had not closed by the end. Rows are sorted by read_offset, slate and offset.

    Returns
    -------
    tuple of int
        The number of rows and of columns.

    Raises
    ------
    TrainingError
        If there is no impression in the time.
    """
    progress("reading the log", 0, 0)
    history = read_history(log, until_ms)
    end_ms = history.last_ms + 1 if until_ms is None else until_ms
    slates = slates_of(history)
    labels = label(history, slates)
    keep = history.events.received_ms[slates.event] >= (since_ms or 0)
    if not keep.any():
        raise TrainingError("There is no impression in this time.", "Choose another --since or --until.")
    feature_set = default_features(history)
    codes = choose_codes(history, feature_set, end_ms)
    offset_ms = feature_set.utc_offset_ms
    fitted = fit_by_day(history, end_ms, offset_ms, seed, staged(progress, "fitting factors"))
    readers = readers_of(feature_set, codes, fitted)
    features = replay(log, history, slates, readers, keep, staged(progress, "reading features"))
    columns = _keys(history, slates, labels, keep) | _features(feature_set.names, features)
    table = pa.table(columns | _outcomes(labels, keep, end_ms))
    progress("writing the table", 0, 0)
    draft = out.with_name(f".{out.name}.draft")
    pq.write_table(table, draft, compression="zstd")
    draft.rename(out)
    return len(table), table.num_columns


def _keys(history: History, slates: Slates, labels: Labels, keep: BoolArray) -> dict[str, pa.Array]:
    shown = history.events.take(slates.event[keep])
    keys = {"offset": pa.array(shown.offset), "received_ms": pa.array(shown.received_ms)}
    keys |= {name: pa.array(getattr(slates, name)[keep]) for name in ("slate", "read_offset", "now_ms")}
    return keys | {
        "user_id": pa.array(history.users).take(pa.array(shown.user)),
        "item_id": pa.array(history.items).take(pa.array(shown.item)),
        "request_id": pa.array(history.requests).take(pa.array(shown.request)),
        "kind": pa.array(KIND_NAMES).take(pa.array(labels.kind[keep])),
    }


def _features(names: tuple[str, ...], features: FloatArray) -> dict[str, pa.Array]:
    return {name: pa.array(np.ascontiguousarray(features[:, j])) for j, name in enumerate(names)}


def _outcomes(labels: Labels, keep: BoolArray, end_ms: int) -> dict[str, pa.Array]:
    return {
        f"y.{head}": pa.array(labels.of(head)[keep], mask=~labels.mature(head, end_ms)[keep])
        for head in labels.windows_ms
    }
