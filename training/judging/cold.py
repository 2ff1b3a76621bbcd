"""Where people or items were unknown when training ended: ours beside the best of all baselines."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from training.judging.figures import OURS, Row

COLD = ("user=cold", "item=cold")
JUDGED = (("complete", "gauc"), ("like", "gauc"), ("click", "gauc"), ("long_view", "gauc"), ("value", "ndcg5"))


class Beside(NamedTuple):
    """Ours and the best baseline on a slice, by a head's figure, and how far ours is above it.

    ``best`` and ``apart`` are None where no baseline has a figure.
    """

    ours: Row
    best: Row | None
    apart: Row | None

    @property
    def worse(self) -> str:
        """Whether the interval of the difference lies below 0: yes, no, or "–" where there is none."""
        if self.apart is None or not math.isfinite(self.apart.high):
            return "–"
        return "yes" if self.apart.high < 0 else "no"


def beside_best(rows: Sequence[Row], baselines: Sequence[str]) -> list[Beside]:
    """By slice and head of ``JUDGED``, where any of these baselines was judged."""
    found = {(row.slice, row.system, row.head, row.metric): row for row in rows if row.kind == "all"}
    told = []
    for part in COLD:
        for head, metric in JUDGED:
            ours = found.get((part, OURS, head, metric))
            others = [found[part, name, head, metric] for name in baselines if (part, name, head, metric) in found]
            if ours is None or not others:
                continue
            defined = [row for row in others if math.isfinite(row.value)]
            best = max(defined, key=lambda row: row.value, default=None)
            apart = found.get((part, OURS, head, f"{metric}_diff_vs_{best.system}")) if best else None
            told.append(Beside(ours, best, apart))
    return told
