"""Calibration in the large: what was predicted by what happened, ``Σp / Σy``, whole and in parts."""

from collections.abc import Iterator

import numpy as np

from features.history import Slates
from features.outcomes import KIND_NAMES
from features.types import BoolArray
from training.judging.bootstrap import Bootstrap, Sums, ratio
from training.judging.cohorts import cohorts_of
from training.judging.figures import OURS, Row, of_rows, row_of
from training.judging.stretch import Read

LEAST_POSITIVES = 20
"""A part with fewer is left out: chance alone would make it look wrong."""


def ratio_of(read: Read, head: str, chosen: BoolArray) -> Sums:
    """What was predicted for the impressions that are marked (n,), by what happened: 1 is calibrated in the large."""
    rows, y = read.stretch.rows(chosen), read.labels.of(head)[chosen].astype(np.float64)
    p = read.probabilities[chosen, read.column(head)]
    by_user = np.stack([np.bincount(rows.user_code, each, rows.users).astype(np.float64) for each in (p, y)], axis=1)
    return Sums("ratio", by_user, ratio, int(y.sum()), rows.slates, 0)


def kinds_of(read: Read) -> Iterator[tuple[str, BoolArray]]:
    """All impressions, then those of each kind where there is more than one; (n,) each."""
    yield "all", np.ones(len(read.labels.kind), np.bool_)
    present = np.unique(read.labels.kind).tolist()
    if len(present) > 1:
        yield from ((name, read.labels.kind == code) for code, name in enumerate(KIND_NAMES) if code in present)


def ratio_rows(read: Read, boot: Bootstrap) -> Iterator[Row]:
    """The ratio of every head, by kind, and of those that count in the value by slice."""
    slates, keep = read.stretch.slates, read.stretch.keep
    shown = Slates(slates.event[keep], slates.slate[keep], slates.read_offset[keep], slates.now_ms[keep])
    parts = cohorts_of(read.stretch.history, shown, read.labels.kind, read.bundle.trained.until_ms)
    for head in read.bundle.heads:
        mature, y = read.mature(head), read.labels.of(head)
        for kind, of_kind in kinds_of(read):
            if (chosen := of_kind & mature).any():
                yield of_rows(row_of(OURS, head, kind, ratio_of(read, head, chosen).figure(boot)), int(chosen.sum()))
        for name, part in parts.items() if getattr(read.bundle.weights, head, 0) > 0 else ():
            chosen = part & mature
            if y[chosen].sum() >= LEAST_POSITIVES:
                figure = ratio_of(read, head, chosen).figure(boot)
                yield of_rows(row_of(OURS, head, "all", figure, name), int(chosen.sum()))
