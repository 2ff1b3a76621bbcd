"""Two bundles side by side: heads, columns, weights and figures that differ."""

from collections.abc import Sequence

import msgspec

from ranking.bundles.bundle import Bundle
from training.judging.figures import OURS, Row

SHOWN = ("gauc", "ndcg5", "logloss", "ece", "slope")


class Figures(msgspec.Struct, frozen=True):
    """One figure of both with what each rests on, None where one has none.

    Each bundle's is of its own stretch: the difference is told, never tested. The gate tests on one stretch.
    """

    metric: str
    head: str
    before: float | None
    after: float | None
    before_on: str = ""
    after_on: str = ""


class Changes(msgspec.Struct, frozen=True):
    """What is other in ``after`` than in ``before``: names that came and went, pairs (before, after) by name."""

    before: str
    after: str
    heads_added: tuple[str, ...]
    heads_gone: tuple[str, ...]
    columns_added: tuple[str, ...]
    columns_gone: tuple[str, ...]
    weights: dict[str, tuple[float, float]]
    windows_ms: dict[str, tuple[int, int]]
    trees: dict[str, tuple[int, int]]
    figures: tuple[Figures, ...]


def compare(before: Bundle, after: Bundle, rows_before: Sequence[Row] = (), rows_after: Sequence[Row] = ()) -> Changes:
    """What is other in ``after``; rows are of each bundle's own evaluation."""
    old, new = (tuple(bundle.feature_set.names) for bundle in (before, after))
    weights = [msgspec.structs.asdict(bundle.weights) for bundle in (before, after)]
    both = [head for head in after.heads if head in before.heads]
    windows = {head: (before.heads[head].window_ms, after.heads[head].window_ms) for head in both}
    trees = {head: (_trees(before.models[head]), _trees(after.models[head])) for head in both}
    return Changes(
        before=before.version,
        after=after.version,
        heads_added=tuple(head for head in after.heads if head not in before.heads),
        heads_gone=tuple(head for head in before.heads if head not in after.heads),
        columns_added=tuple(name for name in new if name not in old),
        columns_gone=tuple(name for name in old if name not in new),
        weights={head: (weights[0][head], value) for head, value in weights[1].items() if weights[0][head] != value},
        windows_ms={head: pair for head, pair in windows.items() if pair[0] != pair[1]},
        trees={head: pair for head, pair in trees.items() if pair[0] != pair[1]},
        figures=_figures(rows_before, rows_after),
    )


def _trees(text: str) -> int:
    return text.count("\nTree=")


def _figures(before: Sequence[Row], after: Sequence[Row]) -> tuple[Figures, ...]:
    old, new = (
        {(row.metric, row.head): row for row in rows if is_headline(row) and row.value == row.value}
        for rows in (before, after)
    )
    return tuple(_figure(*name, old.get(name), new.get(name)) for name in dict.fromkeys([*new, *old]))


def _figure(metric: str, head: str, before: Row | None, after: Row | None) -> Figures:
    values = (before.value if before else None, after.value if after else None)
    return Figures(metric, head, *values, before.rests_on if before else "", after.rests_on if after else "")


def is_headline(row: Row) -> bool:
    """Whether a row is of ours, of all kinds and slices, and of a metric that is shown."""
    return row.system == OURS and row.kind == row.slice == "all" and row.metric in SHOWN
