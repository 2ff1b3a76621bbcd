"""The training table as a Parquet file: what was known at every impression's moment, and what became of it."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.columns import CONTEXT_CATEGORIES, Category, InContext
from features.errors import TrainingError
from features.history import History, Slates, read_history, slates_of
from features.logs.log import EventLog
from features.outcomes import KIND_NAMES
from features.reader import Codes
from features.replay import replay
from features.schema import FeatureSet
from features.types import BoolArray, FloatArray
from training.learning.examples import default_features, known_until, value_of
from training.learning.factors import fit_by_day
from training.learning.labels import Labels, label
from training.learning.pipeline import readers_of
from training.progress import Progress, staged


def write_table(
    log: EventLog, out: Path, *, since_ms: int | None, until_ms: int | None, seed: int, progress: Progress
) -> tuple[int, int]:
    """Write keys, features and labels of the impressions received from ``since_ms`` to before ``until_ms``.

    Features of one day are read with factors fitted on the days before it, as in training. Categories are texts, null
    where there is none: a code would be of all values up to the end. ``y.`` columns hold what happened within the
    heads' whole windows (training may cut them to fit a short log) and are null where the window was open at the end.
    ``slate`` is the offset of the slate's first impression. So but for nulls that fill, the columns of attributes
    first seen later, and late events, a row is the same whatever the end. Rows are sorted by read_offset, those of a
    slate together.

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
    end_ms = known_until(log, history, until_ms)
    slates = slates_of(history)
    labels = label(history, slates)
    keep = history.events.received_ms[slates.event] >= (since_ms or 0)
    if not keep.any():
        raise TrainingError("There is no impression in this time.", "Choose another --since or --until.")
    feature_set = default_features(history)
    codes = every_code(history, feature_set)
    offset_ms = feature_set.utc_offset_ms
    fitted = fit_by_day(history, end_ms, offset_ms, seed, staged(progress, "fitting factors"))
    readers = readers_of(feature_set, codes, history, fitted)
    features = replay(log, history, slates, readers, keep, staged(progress, "reading features"))
    columns = _keys(history, slates, labels, keep) | _features(feature_set, codes, features)
    table = pa.table(columns | _outcomes(labels, keep, end_ms))
    progress("writing the table", 0, 0)
    draft = out.with_name(f".{out.name}.draft")
    pq.write_table(table, draft, compression="zstd")
    draft.rename(out)
    return len(table), table.num_columns


def every_code(history: History, feature_set: FeatureSet) -> Codes:
    """A code for every value of every categorical column, however rare, so that its text can be written."""
    contexts = [page.context for page in history.served.values()]
    said = {*history.words, *(text for c in contexts for text in (c.surface, c.device, c.city_tier))}
    said |= {version.row.city_tier for version in history.people_log}
    values = {}
    for column in feature_set.columns:
        match column:
            case InContext(source=source) if source in CONTEXT_CATEGORIES:
                values[column.name] = tuple(sorted(said - {""}))
            case Category(source=source):
                entity, _, name = source.partition(".")
                versions = history.catalog_log if entity == "item" else history.people_log
                values[column.name] = tuple(sorted({value_of(version.row, name) for version in versions} - {""}))
    return Codes(values)


def _keys(history: History, slates: Slates, labels: Labels, keep: BoolArray) -> dict[str, pa.Array]:
    shown = history.events.take(slates.event[keep])
    starts = np.flatnonzero(np.diff(slates.slate, prepend=-1))
    first = np.minimum.reduceat(history.events.offset[slates.event], starts)[slates.slate]
    return {
        "offset": pa.array(shown.offset),
        "received_ms": pa.array(shown.received_ms),
        "slate": pa.array(first[keep]),
        "read_offset": pa.array(slates.read_offset[keep]),
        "now_ms": pa.array(slates.now_ms[keep]),
        "user_id": pa.array(history.users).take(pa.array(shown.user)),
        "item_id": pa.array(history.items).take(pa.array(shown.item)),
        "request_id": pa.array(history.requests).take(pa.array(shown.request)),
        "kind": pa.array(KIND_NAMES).take(pa.array(labels.kind[keep])),
    }


def _features(feature_set: FeatureSet, codes: Codes, features: FloatArray) -> dict[str, pa.Array]:
    columns = {name: pa.array(np.ascontiguousarray(features[:, j])) for j, name in enumerate(feature_set.names)}
    for name, values in codes.values.items():
        code = features[:, feature_set.names.index(name)].astype(np.int32)
        columns[name] = pa.DictionaryArray.from_arrays(
            pa.array(code - 1, mask=code == 0), pa.array(values, pa.string())
        )
    return columns


def _outcomes(labels: Labels, keep: BoolArray, end_ms: int) -> dict[str, pa.Array]:
    return {
        f"y.{head}": pa.array(labels.of(head)[keep], mask=~labels.mature(head, end_ms)[keep])
        for head in labels.windows_ms
    }
