"""The leakage audit: features read anew from a log that ends at a slate's moment must be the table's, bit for bit."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from features.errors import LogError, TrainingError
from features.log import EventLog
from features.reader import Reader
from features.records import Record
from features.replay import Moment, Readers, read_moments
from features.schema import InContext
from features.state import FeatureState
from features.types import FloatArray

SLATES = 64


class Ended:
    """A log that ends at an offset: what comes later is not there."""

    def __init__(self, log: EventLog, stop: int) -> None:
        self._log = log
        self._stop = stop

    def end(self) -> int:
        """Where it ends."""
        return self._stop

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[pa.RecordBatch]:
        """Batches of what comes before the end."""
        stop = self._stop if stop is None else min(stop, self._stop)
        return self._log.read(start, stop) if start < stop else iter(())

    def append(self, records: Sequence[Record], received_ms: int) -> list[int | None]:
        """Refused: it is for reading."""
        raise LogError(f"{len(records)} records of {received_ms} came to a log that has ended.", "Append to the log.")

    def archive(self, before_ms: int) -> int:
        """Refused: it is for reading."""
        raise LogError(f"A log that has ended cannot archive what came before {before_ms}.", "Archive the log.")


def audit(
    log: EventLog,
    readers: Readers,
    table: FloatArray,
    moments: Sequence[Moment],
    *,
    slates: int = SLATES,
    seed: int = 0,
) -> int:
    """Read some slates again without the future, and compare.

    Parameters
    ----------
    readers : Readers
        What the table was read with.
    table : (n, d) float32
        The feature rows of ``moments``, one after the other. ``context.position`` is not compared: it is of the
        impression, not of the moment.
    slates : int
        How many are drawn, by ``seed``.

    Returns
    -------
    int
        How many were compared.

    Raises
    ------
    TrainingError
        At the first column that differs, naming it and the slate.
    """
    names = [column.name for column in readers.readers[0].feature_set.columns]
    compared = [j for j, c in enumerate(readers.readers[0].feature_set.columns) if c != InContext("position")]
    rng = np.random.default_rng(seed)
    drawn = np.sort(rng.choice(len(moments), min(slates, len(moments)), replace=False))
    starts = np.cumsum([0, *(len(moment.item_ids) for moment in moments)])
    # A reader knows the rows of the state that it has read; this is another state.
    fresh = Readers(readers.since_ms, tuple(Reader(r.feature_set, r.codes, r.factors) for r in readers.readers))
    state = FeatureState(readers.layout)
    for number in drawn.tolist():
        moment = moments[number]
        (rows,) = read_moments(Ended(log, moment.read_offset), fresh, [moment], state=state)
        said = table[starts[number] : starts[number + 1]]
        differs = (rows.view(np.uint32) != said.view(np.uint32)).any(axis=0)[compared]
        if differs.any():
            column = names[compared[int(differs.argmax())]]
            what = f"Column {column!r} of the slate of user {moment.user_id!r} at offset {moment.read_offset} "
            raise TrainingError(what + "is not what was known at its moment.", "Take the column out: it leaks.")
    return len(drawn)
