"""Bundles as people read them: all in one table, one by itself, and two side by side."""

import math
from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from huozhao.times import iso
from ranking.agreement import Agreement
from ranking.bundles.bundle import Bundle
from serving.promotion import Following
from training.judging.compare import Changes
from training.judging.figures import OURS, Row
from training.registry import Listed, Promotion
from training.reports.findings import Findings
from training.served import Held

HEADLINES = (("complete", "gauc"), ("value", "ndcg5"), ("complete", "slope"), ("complete", "ratio"))
COUNTS = ("pairs", "positives", "rows")
LISTED = COUNTS[:2]
"""What a line has room for, beside what a promotion was for."""


def models_table(
    found: Sequence[Listed], figures: Mapping[str, Findings | None], faults: Mapping[str, str]
) -> RenderableType:
    """One line a bundle: figures on its own stretch, and its last promotion; a damaged one with its fault."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, width in (("  bundle", 14), ("trained until", 16)):
        table.add_column(name, no_wrap=True, min_width=width)
    for head, metric in HEADLINES:
        table.add_column(metric, justify="right", no_wrap=True, min_width=6, style="" if head == "value" else "cyan")
    for name in LISTED:
        table.add_column(name, justify="right", no_wrap=True, style="dim")
    table.add_column("promoted", no_wrap=True, min_width=16)
    table.add_column("why", overflow="ellipsis", no_wrap=True)
    for one in found:
        version = Text(f"{'→' if one.current else ' '} {one.version}", "green" if one.current else "")
        if one.bundle is None:
            table.add_row(version, Text("damaged", "red"), *[""] * (len(HEADLINES) + len(LISTED)), "", Text(one.fault))
            continue
        values = [_headline(figures[one.version], *name) for name in HEADLINES]
        values += _counts(figures[one.version], "complete")[: len(LISTED)]
        entry = one.promotion
        when, why = (iso(entry.at_ms)[:16], f"{entry.how}: {entry.reason}") if entry else ("", "")
        said = Text(faults[one.version], "red") if one.version in faults else Text(why)
        table.add_row(version, iso(one.bundle.trained.until_ms)[:16], *values, when, said)
    under = (
        "gauc, slope, ratio and counts are of complete, ndcg5 of the value, each on what came after its own training."
    )
    return Group(table, Text(under if found else "There is no bundle: train one with `huozhao train`.", "dim"))


def _headline(found: Findings | None, head: str, metric: str) -> str:
    row = _row(found, head, metric)
    return f"{row.value:.3f}" if row is not None and math.isfinite(row.value) else "–"


def _counts(found: Findings | None, head: str) -> list[str]:
    """Pairs of its order, positives and rows of its probabilities."""
    order, held = _row(found, head, "gauc"), _row(found, head, "ratio")
    pairs = f"{order.pairs:,}" if order else "–"
    return [pairs, f"{held.positives:,}" if held else "–", f"{held.rows:,}" if held and held.rows else "–"]


def _row(found: Findings | None, head: str, metric: str) -> Row | None:
    name = (OURS, metric, head, "all", "all")
    rows = found.rows if found else ()
    return next((row for row in rows if (row.system, row.metric, row.head, row.kind, row.slice) == name), None)


def followed_view(follows: Following) -> str:
    """What the server of a home does about the last promotion."""
    if not follows.served_ms:
        seen = iso(follows.seen_ms)
        return f"The server makes {follows.bundle} ready since {seen}; it serves the one before meanwhile."
    after_s, served = (follows.served_ms - follows.promoted_ms) / 1000, iso(follows.served_ms)
    return f"The server serves {follows.bundle} since {served}, {after_s:.1f} s after its promotion."


def alarm(held: Held) -> str:
    """A head whose calibration drifted, as a sentence."""
    return (
        f"Calibration drifts: {held.head} was predicted {held.ratio:.2f} times as often as it happened since the "
        f"promotion [{held.low:.2f}, {held.high:.2f}], {held.reported:.2f} times in the report; {held.positives:,} "
        "positives. Train anew, or roll back."
    )


def model_view(
    bundle: Bundle, found: Findings | None, entries: Sequence[Promotion], weighed: Sequence[str], *, is_current: bool
) -> RenderableType:
    """A bundle by itself; ``weighed`` says which weights are served with it."""
    trained = bundle.trained
    lines = [
        f"Bundle {bundle.version}{', served now' if is_current else ''}, fingerprint {bundle.fingerprint}.",
        f"Trained on {iso(trained.since_ms)} to {iso(trained.until_ms)}, {trained.end:,} records, seed {trained.seed}.",
        f"{len(bundle.feature_set.columns)} columns, {len(bundle.factors.item_ids):,} items with factors.",
        *weighed,
    ]
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("head", no_wrap=True)
    for name in ("weight", "window, h", "trees", "gauc", "slope", "ratio", *COUNTS):
        table.add_column(name, justify="right", no_wrap=True)
    for head, known in bundle.heads.items():
        values = [_headline(found, head, metric) for metric in ("gauc", "slope", "ratio")]
        values += _counts(found, head)
        trees = bundle.models[head].count("\nTree=")
        weight = getattr(bundle.weights, head, 0.0)
        table.add_row(head, f"{weight:g}", f"{known.window_ms / 3.6e6:.1f}", str(trees), *values)
    said = [f"{iso(entry.at_ms)} {entry.how}: {entry.reason}" for entry in entries] or ["Never promoted by name."]
    if found is not None and found.unjudged:
        said.append(f"Not judged: {found.unjudged}.")
    return Group(*map(Text, lines), "", table, "", *(Text(line, "dim") for line in said))


def agreement_view(found: Agreement) -> RenderableType:
    """How far a bundle agreed with the one beside which it scored pages."""
    lines = [
        f"In the shadow of {found.beside}: {found.pages:,} pages, {found.dropped:,} dropped, {found.failed:,} failed.",
        f"{found.overlap:.3f} of the first ten are the same, rank correlation {found.rank_correlation:.3f}.",
    ]
    lines += [
        f"{head}: {apart.mean:+.5f} on average, {apart.mean_abs:.5f} apart" for head, apart in found.heads.items()
    ]
    return Group(*map(Text, lines))


def changes_view(changes: Changes) -> RenderableType:
    """What is other in the second of two bundles."""
    named = (("heads added", changes.heads_added), ("heads gone", changes.heads_gone),
             ("columns added", changes.columns_added), ("columns gone", changes.columns_gone))  # fmt: skip
    windows = {head: (a / 3.6e6, b / 3.6e6) for head, (a, b) in changes.windows_ms.items()}
    lines = [f"{changes.before} → {changes.after}"]
    lines += [f"{what}: {', '.join(names)}" for what, names in named if names]
    for what, pairs in (("weight", changes.weights), ("window in hours", windows), ("trees", changes.trees)):
        lines += [f"{what} of {head}: {a:g} → {b:g}" for head, (a, b) in pairs.items()]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("metric", "head"):
        table.add_column(name, no_wrap=True)
    for name in ("before", "of", "after", "of", "by"):
        table.add_column(name, justify="right", no_wrap=True, style="dim" if name == "of" else "")
    for one in changes.figures:
        by = "" if one.before is None or one.after is None else f"{one.after - one.before:+.4f}"
        before, after = ("–" if x is None else f"{x:.4f}" for x in (one.before, one.after))
        table.add_row(one.metric, one.head, before, one.before_on, after, one.after_on, by)
    under = "Each bundle's figures are of its own stretch." if changes.figures else "Neither has been judged."
    return Group(*map(Text, lines), "", table, Text(under, "dim"))
