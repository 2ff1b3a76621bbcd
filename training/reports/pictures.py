"""Small pictures as inline SVG: drawn by arithmetic, coloured by the page's style, readable without colour.

Every picture has a title that says in words what it shows. Coordinates are rounded to a tenth.
"""

from collections.abc import Sequence
from html import escape
from itertools import pairwise

import numpy as np

from training.judging.figures import OURS, Row
from training.learning.drift import MOVED, STIRRED, Drift
from training.reports.findings import Curve

WIDTH = 240


def svg(width: float, height: float, title: str, parts: Sequence[str]) -> str:
    """A picture of so many units, as wide as its place allows."""
    body = "".join(parts)
    return f'<svg viewBox="0 0 {width:g} {height:g}" role="img"><title>{escape(title)}</title>{body}</svg>'


def text(x: float, y: float, words: str, mark: str = "", anchor: str = "start") -> str:
    """Words at a place."""
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{mark}" text-anchor="{anchor}">{escape(words)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, mark: str) -> str:
    """A straight line."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{mark}"/>'


def bar(x: float, y: float, width: float, height: float, mark: str) -> str:
    """A filled rectangle."""
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{max(height, 0):.1f}" class="{mark}"/>'


def dot(x: float, y: float, radius: float, mark: str) -> str:
    """A filled circle."""
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" class="{mark}"/>'


def short(value: float, places: int = 3) -> str:
    """A number without the zero before its point."""
    if not np.isfinite(value):
        return "–"
    return f"{value:.{places}f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.{places}f}"


def forest(rows: Sequence[Row], systems: Sequence[str], middle: float | None) -> str:
    """One figure of every system: a dot at the value, a whisker over its interval, ours first; a rule at ``middle``."""
    found = {row.system: row for row in rows if np.isfinite(row.value)}
    ends = [end for row in found.values() for end in (row.value, row.low, row.high) if np.isfinite(end)]
    low, high = min([*ends, *([middle] if middle is not None else [])]), max(ends)
    pad = 0.06 * (high - low or 1)
    scale = _scale(low - pad, high + pad, 78, WIDTH - 40)
    step, parts = 22, []
    height = step * len(systems) + 18
    if middle is not None:
        parts.append(line(scale(middle), 2, scale(middle), height - 16, "rule"))
    parts += [text(scale(end), height - 4, short(end, 2), "tick", "middle") for end in (low, high)]
    for place, system in enumerate(systems):
        y, mark = 14 + place * step, "ours" if system == OURS else "other"
        parts.append(text(0, y + 4, system, f"label {mark}"))
        if (row := found.get(system)) is None:
            parts.append(text(WIDTH, y + 4, "–", "number", "end"))
            continue
        if np.isfinite(row.low):
            parts.append(line(scale(row.low), y, scale(row.high), y, f"whisker {mark}"))
        parts += [dot(scale(row.value), y, 4, mark), text(WIDTH, y + 4, short(row.value), f"number {mark}", "end")]
    words = "; ".join(f"{name} {short(row.value)} [{short(row.low)}, {short(row.high)}]" for name, row in found.items())
    return svg(WIDTH, height, words, parts)


def reliability(curve: Curve) -> str:
    """What happened over what was predicted: on the diagonal is calibrated; bars show the intervals."""
    points, size, left, top = curve.points, 190, 40, 6
    most = max(max(point.predicted, point.high) for point in points)
    most = _nice(most)
    x, y = _scale(0, most, left, left + size), _scale(0, most, top + size, top)
    parts = [bar(left, top, size, size, "field"), line(x(0), y(0), x(most), y(most), "diagonal")]
    for tick in (0.0, most / 2, most):
        words = _percent(tick, most)
        parts += [text(x(tick), top + size + 16, words, "tick", "middle")]
        parts += [text(left - 6, y(tick) + 4, words, "tick", "end"), line(left, y(tick), left + size, y(tick), "grid")]
    path = " ".join(f"{x(point.predicted):.1f},{y(point.happened):.1f}" for point in points)
    parts.append(f'<polyline points="{path}" class="curve"/>')
    for point in points:
        at = x(point.predicted)
        parts += [
            line(at, y(point.low), at, y(min(point.high, most)), "whisker ours"),
            dot(at, y(point.happened), 3, "ours"),
        ]
    rows, positives = sum(p.rows for p in points), sum(p.positives for p in points)
    title = f"{curve.head}, {curve.kind}: {positives:,} of {rows:,} happened; predicted beside happened: " + ", ".join(
        f"{p.predicted:.4f} {p.happened:.4f}" for p in points
    )
    return svg(left + size + 10, top + size + 22, title, parts)


def bars(values: Sequence[tuple[str, float]], most: float) -> str:
    """Names with a bar each, the first the longest as it comes; shares as percent."""
    step, parts = 30, []
    for place, (name, value) in enumerate(values):
        y = place * step
        parts += [text(0, y + 11, name, "label"), text(WIDTH, y + 11, f"{value:.0%}", "number", "end")]
        parts += [bar(0, y + 16, WIDTH, 5, "field"), bar(0, y + 16, WIDTH * value / (most or 1), 5, "ours")]
    return svg(WIDTH, step * len(values), "; ".join(f"{name} {value:.1%}" for name, value in values), parts)


def histogram(drift: Drift) -> str:
    """Shares of each bin then (outline) and now (filled); the last bin is of rows without a value."""
    top, height = 8, 84
    most = max(*drift.then, *drift.now) or 1.0
    wide = WIDTH / len(drift.then)
    parts = [line(0, top + height, WIDTH, top + height, "rule")]
    outline = []
    for place, (then, now) in enumerate(zip(drift.then, drift.now, strict=True)):
        x = place * wide
        parts.append(bar(x + 1, top + height * (1 - now / most), wide - 2, height * now / most, "now"))
        outline += [(x, top + height * (1 - then / most)), (x + wide, top + height * (1 - then / most))]
    parts += [line(*start, *end, "then") for start, end in pairwise(outline)]
    edges = drift.edges
    if edges:
        parts.append(text(0, top + height + 14, f"≤ {edges[0]:.3g}", "tick"))
        parts.append(text(WIDTH - wide, top + height + 14, f"> {edges[-1]:.3g}", "tick", "end"))
    parts.append(text(WIDTH, top + height + 14, "none", "tick", "end"))
    pairs = ", ".join(f"{a:.0%} {b:.0%}" for a, b in zip(drift.then, drift.now, strict=True))
    return svg(WIDTH, top + height + 20, f"{drift.name}: shares in training and now: {pairs}", parts)


def tenths(log: Sequence[float], ours: Sequence[float]) -> str:
    """Shares of tenths: what the log showed as a line, what an order puts first as bars; from 0, in percent."""
    left, top, height = 30, 8, 96
    most = _nice(max(*log, *ours))
    wide, y = (WIDTH - left) / len(ours), _scale(0, most, top + height, top)
    parts, steps = [], []
    for tick in (0.0, most / 2, most):
        parts += [
            line(left, y(tick), WIDTH, y(tick), "grid"),
            text(left - 6, y(tick) + 4, _percent(tick, most), "tick", "end"),
        ]
    for place, (before, after) in enumerate(zip(log, ours, strict=True)):
        x = left + place * wide
        parts.append(bar(x + 2, y(after), wide - 4, y(0) - y(after), "now"))
        steps += [(x, y(before)), (x + wide, y(before))]
    parts += [line(*start, *end, "then") for start, end in pairwise(steps)]
    parts += [
        text(left, top + height + 15, "shortest", "tick"),
        text(WIDTH, top + height + 15, "longest", "tick", "end"),
    ]
    told = ", ".join(f"{a:.1%} {b:.1%}" for a, b in zip(log, ours, strict=True))
    return svg(WIDTH, top + height + 20, f"shares by tenth of duration, shown and put first: {told}", parts)


def interval(row: Row, low: float, high: float, middle: float) -> str:
    """A whisker on a line of its own, with a rule at ``middle``: for a cell of a table."""
    scale = _scale(low, high, 4, 136)
    parts = [line(scale(middle), 0, scale(middle), 18, "rule")]
    if np.isfinite(row.low):
        ends = (scale(max(row.low, low)), scale(min(row.high, high)))
        parts.append(line(ends[0], 9, ends[1], 9, "whisker ours"))
    parts.append(dot(scale(min(max(row.value, low), high)), 9, 3.5, "ours"))
    return svg(140, 18, f"{short(row.value)} [{short(row.low)}, {short(row.high)}]", parts)


def psi_bars(drifts: Sequence[Drift]) -> str:
    """The index of the columns that moved most, drawn up to 1, with rules where it is called stirred and moved."""
    step, left, right = 20, 270, 540
    scale, parts, height = _scale(0, 1, left, right), [], step * len(drifts) + 18
    for mark in (STIRRED, MOVED):
        parts += [line(scale(mark), 14, scale(mark), height, "rule")]
        parts += [text(scale(mark), 10, short(mark, 2), "tick", "middle")]
    for place, one in enumerate(drifts):
        y = 18 + place * step
        colour = "bad" if one.psi > MOVED else "warn" if one.psi > STIRRED else "calm"
        end = scale(min(one.psi, 1.0))
        parts += [
            text(left - 10, y + 11, _fitting(one.name, 42), "label", "end"),
            bar(left, y + 2, end - left, 11, colour),
        ]
        parts.append(text(end + 6, y + 11, short(one.psi) + ("" if one.psi <= 1 else " →"), "number"))
    words = "; ".join(f"{one.name} {one.psi:.3f}" for one in drifts)
    return svg(right + 60, height, words, parts)


class _Scale:
    """Numbers from low to high as places from start to stop."""

    def __init__(self, low: float, high: float, start: float, stop: float) -> None:
        self._low, self._start = low, start
        self._by = (stop - start) / ((high - low) or 1.0)

    def __call__(self, value: float) -> float:
        return self._start + (value - self._low) * self._by


_scale = _Scale


def _nice(most: float) -> float:
    """The next of 1, 2, 5 and 10 times a power of ten; at most 1."""
    if most <= 0:
        return 1.0
    power = 10.0 ** np.floor(np.log10(most))
    return float(min(1.0, next(step * power for step in (1, 2, 4, 5, 10) if step * power >= most * (1 - 1e-9))))


def _percent(value: float, most: float) -> str:
    places = 0 if most >= 0.1 else 1 if most >= 0.01 else 2
    return f"{100 * value:.{places}f}%"


def _fitting(name: str, letters: int) -> str:
    return name if len(name) <= letters else name[: letters - 1] + "…"
