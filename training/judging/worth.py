"""What each source is worth beside the others: the union's recall less that of the union without it, and new items."""

from collections.abc import Sequence
from typing import NamedTuple

from training.judging.figures import Row
from training.judging.recall import DEPTHS, SHOWN, UNION

LESS = "union − "
"""How the union without a source is called."""


class Worth(NamedTuple):
    """A source of a kind of item.

    ``by_depth`` is the union's recall less that of the union without the source, at each depth, ``cold`` the same for
    people unknown when training ended; ``new`` and ``new_without`` how much of what either gives nobody was shown
    before that.
    """

    kind: str
    source: str
    by_depth: tuple[Row, ...]
    cold: tuple[Row, ...]
    new: Row
    new_without: Row

    @property
    def verdict(self) -> str:
        """By whole intervals: it adds recall at a depth, for all or new people, or new items; or costs, or nothing."""
        if any(row.low > 0 for row in self.by_depth):
            return "adds recall"
        if any(row.low > 0 for row in self.cold):
            return "adds recall for new people"
        if self.new.low > self.new_without.high:
            return "adds new items"
        return "costs recall" if any(row.high < 0 for row in self.by_depth) else "not shown to add"


def worth(rows: Sequence[Row]) -> list[Worth]:
    """Every source of ``training.judging.retrieval.evaluate_retrieval``, in the order of its rows."""
    found = {(row.system, row.kind, row.slice, row.metric): row for row in rows}
    told = []
    for system, kind in dict.fromkeys((system, kind) for system, kind, *_ in found if system.startswith(LESS)):
        by_depth, cold = (
            tuple(
                row
                for depth in DEPTHS
                if (row := found.get((UNION, kind, part, f"recall@{depth}_diff_vs_{system}"))) is not None
            )
            for part in ("all", "user=cold")
        )
        new, without = (found[each, kind, "all", f"new_share@{SHOWN}"] for each in (UNION, system))
        told.append(Worth(kind, system.removeprefix(LESS), by_depth, cold, new, without))
    return told
