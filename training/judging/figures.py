"""From scores to figures: a row each, of every system, head, kind and slice, with counts and an interval."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import numpy as np

from features.outcomes import KIND_NAMES
from features.types import BoolArray, DoubleArray, IntArray
from training.baselines.task import Scores
from training.judging import metrics, reliability
from training.judging.bootstrap import Bootstrap, Difference, Figure, Rows
from training.judging.watch import Watch
from training.learning.labels import Labels
from training.progress import Progress

OURS = "huozhao"
SLICED = (OURS, "popularity", "fm", "static", "lambdamart")
"""The systems whose figures are taken apart by slice, and that AUC over all rows and within people is given of."""
KNOWN = ("user=", "item=")
"""Slices of warm and cold: every system is judged on them."""
SLICE_RESAMPLES = 200
"""Slices have people of their own to draw, and there are many: they take no more draws than this."""
FEWEST = 20
"""A slice's figure of fewer positives or pairs is NaN: it would say nothing."""
ORDERED = (metrics.auc, metrics.gauc, metrics.gauc_user)
PLAIN = "ndcg5_plain"
"""Of the gain without scales: told beside the other, never decided by."""
HELD = (reliability.logloss, reliability.ece, reliability.calibration_slope)


class Row(msgspec.Struct, frozen=True, omit_defaults=True):
    """One figure. NaN (null as JSON) where it is not defined; the counts say why, as in ``bootstrap.Figure``.

    ``head`` is "value" for figures of the whole value by gain. ``slice`` is "all" or as in ``cohorts.cohorts_of``.
    ``p_value`` is of differences alone, ``rows`` of probabilities: how many impressions were judged.
    """

    system: str
    head: str
    kind: str
    slice: str
    metric: str
    value: float
    low: float
    high: float
    positives: int
    slates: int
    pairs: int
    p_value: float | None = None
    rows: int = 0

    @property
    def rests_on(self) -> str:
        """What was counted, as people read it: pairs of an order, rows and positives of probabilities."""
        if self.pairs or not self.rows:
            return f"{self.pairs:,} pairs" if self.pairs else f"{self.positives:,} positives"
        return f"{self.rows:,} rows, {self.positives:,} positives"


@dataclass(frozen=True, slots=True)
class Judged:
    """Rows to judge on: who they belong to, their labels and gain, and the systems' scores; (n,) each.

    ``mature`` (n, heads) says which heads a row counts for; it counts for the gain if it does for all. ``slices``
    says by name which rows a slice holds; ``watch`` holds predicted watch times. ``plain`` is the gain without scales.
    """

    user: IntArray
    slate: IntArray
    labels: Labels
    mature: BoolArray
    gain: DoubleArray
    plain: DoubleArray
    systems: dict[str, Scores]
    slices: Mapping[str, BoolArray] = field(default_factory=dict)
    watch: Watch | None = None


def to_json(rows: list[Row]) -> bytes:
    """The rows as ``{"rows": [...]}``."""
    return msgspec.json.encode({"rows": rows})


def rows_of(on: Judged, boot: Bootstrap, progress: Progress) -> Iterator[Row]:
    """The figures of all heads and of the value, for all kinds and for each, then by slice."""
    heads = tuple(on.labels.windows_ms)
    codes = np.unique(on.labels.kind).tolist()
    kinds = [(KIND_NAMES[code], on.labels.kind == code) for code in codes if code]
    if len(codes) > 1:
        kinds.insert(0, ("all", np.ones(len(on.user), np.bool_)))
    for column, head in enumerate(heads):
        progress("judging", column, len(heads))
        for kind, of_kind in kinds:
            found = list(_head_rows(on, head, column, kind, of_kind & on.mature[:, column], boot))
            yield from _of_all(found, alone=len(kinds) == 1)
    for kind, of_kind in kinds:
        found = list(_value_rows(on, kind, of_kind & on.mature.all(axis=1), boot))
        yield from _of_all(found, alone=len(kinds) == 1)
    progress("judging", len(heads), len(heads))
    fewer = Bootstrap(min(boot.resamples, SLICE_RESAMPLES), boot.seed)
    for done, (name, held) in enumerate(on.slices.items()):
        progress("judging slices", done, len(on.slices))
        yield from _slice_rows(on, name, held, fewer)


def _of_all(rows: list[Row], *, alone: bool) -> Iterator[Row]:
    """The rows of a kind; of the only kind there is they are those of all as well."""
    yield from rows
    if alone:
        yield from (msgspec.structs.replace(row, kind="all") for row in rows)


def _head_rows(on: Judged, head: str, column: int, kind: str, chosen: BoolArray, boot: Bootstrap) -> Iterator[Row]:
    rows, y = Rows(on.slate[chosen], on.user[chosen]), on.labels.of(head)[chosen]
    ours = on.systems[OURS].score[chosen, column]
    yield of_rows(row_of("log", head, kind, reliability.rate(rows, y, boot)), len(rows))
    for system, scores in on.systems.items():
        score = scores.score[chosen, column]
        for ordered in ORDERED if system in SLICED else (metrics.gauc,):
            yield row_of(system, head, kind, ordered(rows, y, score, boot))
        if scores.probabilities is not None:
            p = scores.probabilities[chosen, column]
            for held in HELD:
                yield of_rows(row_of(system, head, kind, held(rows, y, p, boot)), len(rows))
            if system == OURS:
                yield of_rows(row_of(system, head, kind, reliability.ece_by_chance(rows, p)), len(rows))
        if system != OURS:
            yield difference_row(system, head, kind, metrics.paired_difference("gauc", rows, y, ours, score, boot))


def _value_rows(on: Judged, kind: str, chosen: BoolArray, boot: Bootstrap) -> Iterator[Row]:
    rows, got, plain = Rows(on.slate[chosen], on.user[chosen]), on.gain[chosen], on.plain[chosen]
    ours = on.systems[OURS].value[chosen]
    for system, scores in on.systems.items():
        value = scores.value[chosen]
        yield row_of(system, "value", kind, metrics.ndcg(rows, got, value, boot))
        yield row_of(system, "value", kind, replace(metrics.ndcg(rows, plain, value, boot), metric=PLAIN))
        if system != OURS:
            yield difference_row(system, "value", kind, metrics.paired_difference("ndcg", rows, got, ours, value, boot))


def _slice_rows(on: Judged, name: str, held: BoolArray, boot: Bootstrap) -> Iterator[Row]:
    """GAUC of every head and NDCG@5 of the value among the rows of a slice: both rows of a pair are in it.

    Of warm and cold those of every system, and how far ours is above each.
    """
    told = name.startswith(KNOWN)
    systems = [system for system in on.systems if told or system in SLICED]
    for column, head in enumerate(on.labels.windows_ms):
        chosen = held & on.mature[:, column]
        rows, y = Rows(on.slate[chosen], on.user[chosen]), on.labels.of(head)[chosen]
        scores = {system: on.systems[system].score[chosen, column] for system in systems}
        for system in systems:
            yield sparing(row_of(system, head, "all", metrics.gauc(rows, y, scores[system], boot), name))
            if told and system != OURS:
                above = metrics.paired_difference("gauc", rows, y, scores[OURS], scores[system], boot)
                yield sparing(difference_row(system, head, "all", above, name))
    chosen = held & on.mature.all(axis=1)
    rows, got = Rows(on.slate[chosen], on.user[chosen]), on.gain[chosen]
    values = {system: on.systems[system].value[chosen] for system in systems}
    for system in systems:
        yield sparing(row_of(system, "value", "all", metrics.ndcg(rows, got, values[system], boot), name))
        if told and system != OURS:
            above = metrics.paired_difference("ndcg", rows, got, values[OURS], values[system], boot)
            yield sparing(difference_row(system, "value", "all", above, name))


def row_of(system: str, head: str, kind: str, figure: Figure, slice_name: str = "all") -> Row:
    """A figure as a row of the table."""
    counts = (figure.positives, figure.slates, figure.pairs)
    return Row(system, head, kind, slice_name, figure.metric, figure.value, figure.low, figure.high, *counts)


def of_rows(row: Row, rows: int) -> Row:
    """A figure of probabilities with the number of impressions that it is of."""
    return msgspec.structs.replace(row, rows=rows)


def difference_row(
    other: str, head: str, kind: str, found: Difference, slice_name: str = "all", ours: str = OURS
) -> Row:
    """How far ours is above another system."""
    row = row_of(ours, head, kind, found, slice_name)
    return msgspec.structs.replace(row, metric=f"{found.metric}_diff_vs_{other}", p_value=found.p_value)


def sparing(row: Row) -> Row:
    """The row, or its counts alone where they are fewer than ``FEWEST``."""
    if min(row.positives, row.pairs) >= FEWEST:
        return row
    p_value = None if row.p_value is None else np.nan
    return msgspec.structs.replace(row, value=np.nan, low=np.nan, high=np.nan, p_value=p_value)


def undefined(raw: dict[str, Any], names: Iterable[str] = ("value", "low", "high", "p_value")) -> dict[str, Any]:
    """What JSON says of a figure, with NaN where it says null: as that is written, and msgspec reads no null as one."""
    return raw | {name: np.nan for name in names if raw.get(name, 0) is None}
