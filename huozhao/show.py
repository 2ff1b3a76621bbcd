"""What people read: a feed and the figures of an evaluation as tables, within 120 columns."""

import math
import sys
from collections.abc import Mapping, Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from huozhao.times import iso
from ranking.api import Feed
from training import Learned, Row
from training.judging.figures import PLAIN
from training.learning.labels import cut_of

WIDTH = 120
TOP_TERMS = 3
SYSTEMS = ("huozhao", "popularity", "static")
"""The systems of an evaluation that are printed, from left to right."""
FEWEST = 20
"""A figure of fewer positives or pairs says nothing, and is not printed."""
COLOURS = {"room": "magenta", "product": "green", "video": "cyan"}


def console() -> Console:
    """Standard output; of 120 columns where it is no terminal."""
    return Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)


def feed_table(feed: Feed, note: str = "") -> RenderableType:
    """A page: place, kind, title (or id), author, price, value, its largest terms and what found it."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, style in (("", "dim"), ("kind", ""), ("title or id", ""), ("author", "dim")):
        table.add_column(name, style=style, justify="left" if name else "right", no_wrap=True, overflow="ellipsis")
    table.add_column("price", justify="right", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("top terms", no_wrap=True)
    table.add_column("source", style="dim", no_wrap=True)
    for place, item in enumerate(feed.items, 1):
        table.add_row(
            str(place),
            Text(item.kind, COLOURS[item.kind]),
            # A title is another's text: no markup is read in it.
            Text(item.title or item.item_id),
            Text(item.author_id),
            f"{item.price / 100:.2f}" if item.price else "",
            f"{item.value:.2f}",
            top_terms(item.terms),
            item.source,
        )
    who = f"user {feed.user_id}" if feed.user_id else "nobody known"
    under = Text(f"{who} · {feed.surface} · bundle {feed.bundle} · policy {feed.policy} · offset {feed.read_offset}")
    under.stylize("dim")
    rows: list[RenderableType] = [table if feed.items else Text("Nothing may be shown now."), under]
    return Group(*([Text(note, "yellow")] if note else []), *rows)


def top_terms(terms: Mapping[str, float]) -> str:
    """The largest terms of a value, ties by name."""
    largest = sorted(terms.items(), key=lambda term: (-abs(term[1]), term[0]))[:TOP_TERMS]
    return "  ".join(f"{head} {term:+.2f}" for head, term in largest if term)


def trained_table(result: Learned) -> RenderableType:
    """The slices that were learned from, one a column, and the positives of each head in them, one a line."""
    slices = result.slices
    starts = {"train": slices.since_ms, "stop": slices.stop_ms, "calibrate": slices.calibrate_ms}
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("slice", no_wrap=True)
    for name in starts:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_row("from", *map(iso, starts.values()), style="dim")
    table.add_row("impressions", *(f"{result.rows[name]:,}" for name in starts))
    for head in result.positives["train"]:
        if head not in result.dropped:
            table.add_row(head, *(f"{result.positives[name][head]:,}" for name in starts))
    lines = [f"The training ends at {iso(slices.until_ms)}; {result.audited} slates were audited for leaks."]
    if result.dropped:
        lines.append(f"No head for {', '.join(result.dropped)}: too few of both outcomes.")
    cut_ms = cut_of({head: known.window_ms for head, known in result.bundle.heads.items()})
    if cut_ms:
        said = ", ".join(f"{head} {own / 3.6e6:.3g} h of {whole / 3.6e6:.3g}" for head, (own, whole) in cut_ms.items())
        lines.append(f"Windows cut to fit a short log: {said}.")
    return Group(table, *(Text(line, "dim") for line in lines))


def figures_table(rows: Sequence[Row]) -> RenderableType:
    """One line a head: the pairwise GAUC of every system with its interval, then ours less each of the others.

    The last two are NDCG@5 of the value by gain and by the gain without scales.
    """
    whole = {(row.metric, row.head, row.system): row for row in rows if row.kind == "all" and row.slice == "all"}
    systems = [system for system in SYSTEMS if any(row.system == system for row in rows)]
    # A blank between columns: with two, intervals beside three systems take more than the width.
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for name in ("metric", "head"):
        table.add_column(name, no_wrap=True)
    for name in ("slates", "pairs"):
        table.add_column(name, justify="right", style="dim", no_wrap=True)
    for name in (*systems, *(f"ours − {other}" for other in systems[1:])):
        table.add_column(name, justify="right", no_wrap=True)
    for metric, head in dict.fromkeys(
        (metric, head) for metric, head, _ in whole if metric in ("gauc", "ndcg5", PLAIN)
    ):
        found = [whole[metric, head, system] for system in systems]
        above = [whole.get((f"{metric}_diff_vs_{other}", head, systems[0])) for other in systems[1:]]
        figures = [_figure(row) for row in found] + [_figure(row, "+") for row in above]
        table.add_row(metric, head, f"{found[0].slates:,}", f"{found[0].pairs:,}", *figures)
    under = f"95 % intervals, people drawn again; – under {FEWEST} positives or pairs; --json FILE has all."
    return Group(table, Text(under, "dim"))


def _figure(row: Row | None, sign: str = "") -> str:
    if row is None or not math.isfinite(row.value) or min(row.positives, row.pairs) < FEWEST:
        return "–"
    interval = f" {_short(row.low)}–{_short(row.high)}" if math.isfinite(row.low) and math.isfinite(row.high) else ""
    return _short(row.value, sign) + interval


def _short(value: float, sign: str = "") -> str:
    """Three places without the zero before the point."""
    return f"{value:{sign}.3f}".replace("0.", ".", 1) if abs(value) < 0.9995 else f"{value:{sign}.0f}"
