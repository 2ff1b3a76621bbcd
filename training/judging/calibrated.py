"""Whether probabilities hold: every head of every kind of item with outcomes enough, by three bars."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from training.judging.figures import OURS, Row

ENOUGH = 500
"""A head of a kind is judged from so many positives on."""
SLOPE, ECE_SHARE = (0.9, 1.1), 0.1


class Calibrated(NamedTuple):
    """The calibration of a head on a kind of item.

    ``constant`` is the log loss of saying the base rate, whatever the item; ``chance`` the ECE that probabilities which
    hold would have with so few rows; ``bar`` a tenth of the rate. ``misses`` names the bars that are missed: a slope
    outside of [.9, 1.1], a log loss not below the constant's, an ECE above its bar.
    """

    head: str
    kind: str
    positives: int
    rate: float
    slope: Row
    loss: float
    constant: float
    ece: float
    chance: float
    bar: float
    misses: tuple[str, ...]

    @property
    def is_noise(self) -> bool:
        """Whether all that is missed is an ECE that chance alone would have put above its bar."""
        return self.misses == ("ECE",) and self.chance > self.bar


def calibrated(rows: Sequence[Row], least: int = ENOUGH) -> list[Calibrated]:
    """Every head of all kinds, and of each where they are told apart, with so many positives, in the order of rows."""
    found = {(row.system, row.head, row.kind, row.metric): row for row in rows if row.slice == "all"}
    several = len({row.kind for row in rows if row.metric == "slope"} - {"all"}) > 1
    judged = []
    for (system, head, kind, metric), row in found.items():
        if (system, metric) == ("log", "rate") and row.positives >= least and (several or kind == "all"):
            judged.append(_judged(found, head, kind, row))
    return judged


def _judged(found: dict[tuple[str, str, str, str], Row], head: str, kind: str, rate: Row) -> Calibrated:
    slope, loss, ece = (found[OURS, head, kind, name] for name in ("slope", "logloss", "ece"))
    chance = found.get((OURS, head, kind, "ece_by_chance"))
    constant, bar = found.get(("constant", head, kind, "logloss")), ECE_SHARE * rate.value
    # Where no constant was judged beside it: the best there could have been.
    base = constant.value if constant else _entropy(rate.value)
    bars = (("slope", SLOPE[0] <= slope.value <= SLOPE[1]), ("log loss", loss.value < base), ("ECE", ece.value <= bar))
    return Calibrated(
        head, kind, rate.positives, rate.value, slope, loss.value, base, ece.value,
        chance.value if chance else math.nan, bar, tuple(name for name, holds in bars if not holds),
    )  # fmt: skip


def _entropy(rate: float) -> float:
    return -sum(share * math.log(share) for share in (rate, 1 - rate) if share > 0)
