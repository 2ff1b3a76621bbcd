"""Parts of a stretch, each judged by itself, so that a mean hides no part that is served badly."""

from collections.abc import Iterator

import numpy as np

from features.history import IMPRESSION
from features.log import DAY_MS
from features.outcomes import KIND_NAMES
from features.types import BoolArray, IntArray, RowArray
from training import metrics
from training.bootstrap import Bootstrap, Figure, Sums, ratio
from training.evaluate import OURS, Row
from training.stretch import Read, Stretch

FEW = 20
LEAST_PAIRS, LEAST_POSITIVES = 50, 20
"""A part with fewer is not judged: chance alone would put it first."""
QUARTER_H = 6


def subsets(read: Read) -> dict[str, BoolArray]:
    """Parts of the impressions (n,) by name: kinds, how much is known of person and item, time of day, where it was."""
    stretch, history = read.stretch, read.stretch.history
    events, shown = history.events, read.stretch.event
    people = _seen_before(stretch, events.user, len(history.users))[events.user[shown]]
    items = _seen_before(stretch, events.item, len(history.items))[events.item[shown]]
    offset_ms = read.bundle.feature_set.utc_offset_ms
    hour = (stretch.slates.now_ms[stretch.keep] + offset_ms) % DAY_MS // 3_600_000
    parts = {f"kind: {name}": read.labels.kind == code for code, name in enumerate(KIND_NAMES) if code}
    for what, seen in (("person", people), ("item", items)):
        parts |= {
            f"{what}: never seen before": seen == 0,
            f"{what}: seen 1–{FEW - 1} times": (seen > 0) & (seen < FEW),
            f"{what}: seen {FEW} times or more": seen >= FEW,
        }
    parts |= {
        f"time: {begin:02d}–{begin + QUARTER_H:02d} h": hour // QUARTER_H == begin // QUARTER_H
        for begin in range(0, 24, QUARTER_H)
    }
    for name, codes in (("surface", events.surface), ("device", events.device), ("city", events.city_tier)):
        parts |= {
            f"{name}: {history.words[code]}": codes[shown] == code for code in np.unique(codes[shown]).tolist() if code
        }
    return {name: part for name, part in parts.items() if part.any() and not part.all()}


def _seen_before(stretch: Stretch, codes: RowArray, names: int) -> IntArray:
    """How often each name was shown, or to each person something was, before the stretch."""
    events = stretch.history.events
    before = (events.action == IMPRESSION) & (events.received_ms < stretch.since_ms)
    return np.bincount(codes[before], minlength=names)


def subset_rows(read: Read, boot: Bootstrap) -> Iterator[Row]:
    """The order and the calibration of the heads that count in the value, in every part where there is enough of both.

    ``gauc`` is of pairs within a slate that are both of the part; ``ratio`` is what was predicted by what happened.
    """
    weights = read.bundle.weights
    heads = [head for head in read.bundle.heads if getattr(weights, head, 0) > 0]
    parts = subsets(read)
    for head in heads:
        mature, y = read.mature(head), read.labels.of(head)
        for name, part in parts.items():
            chosen = part & mature
            if y[chosen].sum() < LEAST_POSITIVES:
                continue
            rows, at = read.stretch.rows(chosen), read.column(head)
            order = metrics.gauc(rows, y[chosen], read.score[chosen, at], boot)
            if order.pairs >= LEAST_PAIRS:
                yield row_of(head, "all", name, order)
                yield row_of(head, "all", name, ratio_of(read, head, chosen).figure(boot))


def ratio_of(read: Read, head: str, chosen: BoolArray) -> Sums:
    """What was predicted for the impressions that are marked (n,), by what happened: 1 is calibrated in the large."""
    rows, y = read.stretch.rows(chosen), read.labels.of(head)[chosen].astype(np.float64)
    p = read.probabilities[chosen, read.column(head)]
    by_user = np.stack([np.bincount(rows.user_code, each, rows.users).astype(np.float64) for each in (p, y)], axis=1)
    return Sums("ratio", by_user, ratio, int(y.sum()), rows.slates, 0)


def row_of(head: str, kind: str, part: str, figure: Figure) -> Row:
    """A figure of ours as a row."""
    counts = (figure.positives, figure.slates, figure.pairs)
    return Row(OURS, head, kind, part, figure.metric, figure.value, figure.low, figure.high, *counts)
