"""Curves over an axis, as SVG that stands alone: panels of lines with their names beside them."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

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
