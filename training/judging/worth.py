"""What each source is worth beside the others: the union's recall less that of the union without it, and new items."""

from collections.abc import Sequence
from typing import NamedTuple

from training.judging.figures import Row
from training.judging.recall import DEPTHS, SHOWN, UNION

LESS = "union − "
"""How the union without a source is called."""


class Worth(NamedTuple):
    """A source of a kind of item.

    ``by_depth`` is the union's recall less that of the union without the source, at each depth; ``new`` and
    ``new_without`` how much of what either gives nobody was shown before training ended.
    """

    kind: str
    source: str
    by_depth: tuple[Row, ...]
    new: Row
    new_without: Row

    @property
    def verdict(self) -> str:
        """By whole intervals: it adds recall at a depth, or new items, or costs recall, or nothing is shown."""
        if any(row.low > 0 for row in self.by_depth):
            return "adds recall"
        if self.new.low > self.new_without.high:
            return "adds new items"
        return "costs recall" if any(row.high < 0 for row in self.by_depth) else "not shown to add"


def worth(rows: Sequence[Row]) -> list[Worth]:
    """Every source of ``training.judging.retrieval.evaluate_retrieval``, in the order of its rows."""
    found = {(row.system, row.kind, row.metric): row for row in rows if row.slice == "all"}
    told = []
    for system, kind in dict.fromkeys((system, kind) for system, kind, _ in found):
        if system.startswith(LESS):
            by_depth = tuple(found[UNION, kind, f"recall@{depth}_diff_vs_{system}"] for depth in DEPTHS)
            new, without = (found[each, kind, f"new_share@{SHOWN}"] for each in (UNION, system))
            told.append(Worth(kind, system.removeprefix(LESS), by_depth, new, without))
    return told
