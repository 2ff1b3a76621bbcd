"""The leakage audit: what was learned and read for a moment must be the same from a log read no further than it."""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pyarrow as pa

from features.columns import InContext
from features.errors import LogError, TrainingError
from features.factors import Factors
from features.history import read_history
from features.logs.log import EventLog
from features.pages import Moment
from features.reader import Codes
from features.records import Record
from features.replay import Readers, read_moments
from features.schema import FeatureSet
from features.types import FloatArray
from training.learning.answers import Answers
from training.learning.examples import choose_codes
from training.learning.factors import Interactions, fit
from training.learning.tastes import fit_tastes

SLATES = 64


class Stepwise:
    """A log that is read up to one offset after the other: nothing beyond the next one is handed out before."""

    def __init__(self, log: EventLog, stops: Sequence[int]) -> None:
        self._log = log
        self._stops = stops

    def end(self) -> int:
        """The last of the offsets."""
        return self._stops[-1]

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[pa.RecordBatch]:
        """Batches that end at the offsets."""
        for begin, end in pairwise([start, *(at for at in self._stops if at > start)]):
            yield from self._log.read(begin, end if stop is None else min(end, stop))

    def append(self, records: Sequence[Record], received_ms: int) -> list[int | None]:
        """Refused: it is for reading."""
        raise LogError(f"{len(records)} records of {received_ms} came to a log that is audited.", "Append to the log.")

    def archive(self, before_ms: int) -> int:
        """Refused: it is for reading."""
        raise LogError(f"A log that is audited cannot archive what came before {before_ms}.", "Archive the log.")


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
    chosen = [moments[number] for number in drawn.tolist()]
    ended = Stepwise(log, sorted({moment.read_offset for moment in chosen}))
    for number, moment, rows in zip(drawn.tolist(), chosen, read_moments(ended, readers, chosen), strict=True):
        said = table[starts[number] : starts[number + 1]]
        differs = (rows.view(np.uint32) != said.view(np.uint32)).any(axis=0)[compared]
        if differs.any():
            column = names[compared[int(differs.argmax())]]
            what = f"Column {column!r} of the slate of user {moment.user_id!r} at offset {moment.read_offset} "
            raise TrainingError(what + "is not what was known at its moment.", "Take the column out: it leaks.")
    return len(drawn)


def audit_factors(log: EventLog, fitted: Sequence[tuple[int, Factors]], utc_offset_ms: int, *, seed: int = 0) -> None:
    """Fit the factors of one day, drawn by ``seed``, again from a log that ends where the day begins, and compare.

    Raises
    ------
    TrainingError
        If they are others, naming the day.
    """
    start_ms, factors = fitted[int(np.random.default_rng(seed).integers(len(fitted)))]
    history = read_history(log, start_ms)
    anew = fit(Interactions.of(history), history.catalog, start_ms, seed)
    tastes = fit_tastes(Answers.of(history), history.catalog, history.people, start_ms, seed)
    if replace(anew, tastes=tastes).version != factors.version:
        day = dt.datetime.fromtimestamp((start_ms + utc_offset_ms) / 1000, dt.UTC).strftime("%Y-%m-%d %H:%M")
        what = f"The factors that serve from {day} are not those of the log before it."
        raise TrainingError(what, "Fit them from what was received before: they leak.")


def audit_codes(log: EventLog, feature_set: FeatureSet, codes: Codes, before_ms: int) -> None:
    """Choose the codes again from a log that ends at ``before_ms``, and compare.

    Raises
    ------
    TrainingError
        If a column's are others, naming it.
    """
    anew = choose_codes(read_history(log, before_ms), feature_set, before_ms)
    for name, values in codes.values.items():
        if anew.values[name] != values:
            raise TrainingError(
                f"Column {name!r} has codes of values seen later.", "Choose them from what came before."
            )
