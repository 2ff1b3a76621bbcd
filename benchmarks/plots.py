"""Pictures of what was measured, as SVG that stands alone: ``python -m benchmarks.plots`` redraws those committed."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from itertools import groupby
from pathlib import Path
from typing import NamedTuple, TypeGuard

import numpy as np

RESULTS = Path(__file__).with_name("results")
WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 460, 300, 58, 34, 130, 44
STYLE = """\
text{font:12px system-ui,sans-serif;fill:#334155}.t{font-weight:600}.g{stroke:#94a3b8;stroke-opacity:.35}
.l{fill:none;stroke-width:2}.e{text-anchor:end}.m{text-anchor:middle}
@media(prefers-color-scheme:dark){text{fill:#cbd5e1}}"""
COLOURS = ("#0d9488", "#e11d48", "#d97706", "#7c3aed", "#0284c7", "#65a30d", "#db2777", "#78716c")
"""Seen on white and on black alike."""
Point = tuple[float, float]
Series = Mapping[str, Sequence[Point]]


class Axis(NamedTuple):
    """A logarithmic or plain scale with a name and its ticks."""

    name: str
    low: float
    high: float
    log: bool

    @classmethod
    def over(cls, name: str, values: Sequence[float], *, log: bool = True) -> "Axis":
        """An axis that holds all values with a little room."""
        low, high = min(values), max(values)
        if log:
            return cls(name, low / 1.15, high * 1.15, log)
        room = (high - low or abs(high) or 1.0) / 12
        return cls(name, low - room, high + room, log)

    def at(self, value: float) -> float:
        """Where a value lies, from 0 to 1."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    @property
    def ticks(self) -> list[float]:
        """Round numbers along it: 1, 2 and 5 of each decade, or equal steps; decades alone where many."""
        if not self.log:
            step = 10 ** math.floor(math.log10((self.high - self.low) / 2))
            step *= next(times for times in (1, 2, 5, 10) if (self.high - self.low) / (step * times) <= 6)
            return [k * step for k in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        choices = [
            [tick for d in decades for first in firsts if self.low <= (tick := first * 10.0**d) <= self.high]
            for firsts in ((1, 2, 5), (1, 3), (1,))
        ]
        return next((ticks for ticks in choices if len(ticks) <= 7), choices[-1])


def lines(title: str, x: Axis, y: Axis, series: Series, across: int = 0) -> str:
    """A panel with a line and dots for each series, and their names beside it."""
    left, width, height = across + LEFT, WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    bottom = TOP + height
    parts = [f'<text class="t" x="{left}" y="18">{escape(title)}</text>']
    for tick in y.ticks:
        at = round(bottom - y.at(tick) * height, 1)
        parts.append(f'<path class="g" d="M{left} {at}h{width}"/>')
        parts.append(f'<text class="e" x="{left - 6}" y="{at + 4}">{short(tick)}</text>')
    for tick in x.ticks:
        at = round(left + x.at(tick) * width, 1)
        parts.append(f'<path class="g" d="M{at} {TOP}v{height}"/>')
        parts.append(f'<text class="m" x="{at}" y="{bottom + 16}">{short(tick)}</text>')
    parts.append(f'<text class="m" x="{left + width / 2}" y="{bottom + 34}">{escape(x.name)}</text>')
    parts.append(f'<text class="e" x="{left + width}" y="18">{escape(y.name)}</text>')
    for number, (name, points) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        spots = [(round(left + x.at(a) * width, 1), round(bottom - y.at(b) * height, 1)) for a, b in points]
        path = "L".join(f"{a} {b}" for a, b in spots)
        parts.append(f'<path class="l" stroke="{colour}" d="M{path}"/>')
        parts += [f'<circle cx="{a}" cy="{b}" r="3" fill="{colour}"/>' for a, b in spots]
        at = TOP + 10 + 18 * number
        parts.append(f'<circle cx="{left + width + 12}" cy="{at - 4}" r="4" fill="{colour}"/>')
        parts.append(f'<text x="{left + width + 20}" y="{at}">{escape(name)}</text>')
    return "".join(parts)


def bars(title: str, unit: str, values: Mapping[str, float]) -> str:
    """A bar for each name, on a logarithmic scale, with its figure."""
    least = min(values.values()) / 2
    most = math.log(max(values.values()) / least)
    parts = [f'<text class="t" x="8" y="18">{escape(title)}</text>']
    for number, (name, value) in enumerate(values.items()):
        y, long = TOP + 24 * number, round(WIDTH / 2 * math.log(value / least) / most, 1)
        parts.append(f'<rect x="170" y="{y}" width="{long}" height="16" rx="2" fill="{COLOURS[number > 0]}"/>')
        parts.append(f'<text class="e" x="162" y="{y + 13}">{escape(name)}</text>')
        parts.append(f'<text x="{178 + long}" y="{y + 13}">{value:.3g} {unit}</text>')
    return "".join(parts)


def page(content: str, panels: int = 1, height: int = HEIGHT) -> str:
    """A whole SVG."""
    box = f'viewBox="0 0 {panels * WIDTH} {height}" width="{panels * WIDTH}" height="{height}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {box}><style>{STYLE}</style>{content}</svg>\n'


def short(number: float) -> str:
    """A number as an axis shows it."""
    for unit, sign in ((1e6, "M"), (1e3, "k")):
        if number >= unit:
            return f"{number / unit:g}{sign}"
    return f"{number:.3g}"


Rows = Sequence[Mapping[str, object]]


def of_index(rows: Rows) -> str | None:
    """Recall against time of unfiltered searches, a front for each system and a panel for each set of vectors."""
    sets: dict[str, dict[str, list[Point]]] = {}
    fronts = {row.get("set") for row in rows if row.get("filter") == "front"}
    for row in rows:
        wanted = "front" if row.get("set") in fronts else "none"
        if row.get("filter") == wanted and is_number(a := row.get("recall")) and is_number(b := row.get("p50_ms")):
            series = sets.setdefault(str(row.get("set", "Searches")), {})
            series.setdefault(str(row["system"]), []).append((a, b))
    panels: list[str] = []
    for name, series in sets.items():
        every = [point for points in series.values() for point in points]
        x = Axis.over("recall at 100", [a for a, _ in every], log=False)
        y = Axis.over("p50, ms", [b for _, b in every])
        panels.append(lines(name, x, y, {of: sorted(points) for of, points in series.items()}, len(panels) * WIDTH))
    return page("".join(panels), len(panels)) if panels else None


def of_scale(rows: Rows) -> str | None:
    """Latency of a feed by what was varied, a panel each."""
    panels: list[str] = []
    for varied, some in groupby(rows, key=lambda row: str(row.get("vary", ""))):
        kept = list(some)
        series: dict[str, list[Point]] = {name: [] for name in ("p50_ms", "p99_ms")}
        for row in kept:
            for name, points in series.items():
                if is_number(a := row.get(varied)) and is_number(b := row.get(name)):
                    points.append((a, b))
        if len(series["p50_ms"]) > 1:
            x = Axis.over(varied, [a for a, _ in series["p50_ms"]])
            y = Axis.over("ms", [b for points in series.values() for _, b in points])
            panels.append(
                lines(
                    "A feed", x, y, {name[:3]: sorted(points) for name, points in series.items()}, len(panels) * WIDTH
                )
            )
    return page("".join(panels), len(panels)) if panels else None


def of_score(rows: Rows) -> str | None:
    """Time to score, a bar for each system, of the first size."""
    timed = [row for row in rows if is_number(row.get("p50_ms"))]
    values = {
        str(row["system"]): value
        for row in timed
        if row.get("size") == timed[0].get("size") and is_number(value := row["p50_ms"])
    }
    if not values:
        return None
    return page(bars(f"Scoring {timed[0].get('size', '')}", "ms", values), height=TOP + 24 * len(values) + 8)


def is_number(value: object) -> TypeGuard[float]:
    """Whether a cell of a row is a figure that can be drawn."""
    return isinstance(value, int | float) and bool(np.isfinite(value))


DRAWN: dict[str, Callable[[Rows], str | None]] = {"index": of_index, "scale": of_scale, "score": of_score}


def draw(reports: Sequence[Mapping[str, object]], folder: Path) -> None:
    """Draw the reports that have a picture, as ``NAME.svg``."""
    for report in reports:
        name, rows = str(report["benchmark"]), report["rows"]
        picture = DRAWN[name](rows) if name in DRAWN and isinstance(rows, list) else None
        if picture:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{name}.svg").write_text(picture, "utf-8")


if __name__ == "__main__":
    for file in sorted(RESULTS.glob("*.json")):
        draw([json.loads(file.read_text("utf-8"))], RESULTS)
