"""Pictures of what was measured, as SVG that stands alone: ``python -m benchmarks.plots`` redraws those committed."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from itertools import groupby
from pathlib import Path
from typing import TypeGuard

import numpy as np

from training.reports.curves import COLOURS, HEIGHT, TOP, WIDTH, Axis, Point, lines, page

RESULTS = Path(__file__).with_name("results")
PICTURES = Path(__file__).parents[1] / "docs" / "pictures"


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


ONE_IN = {"p50_ms": 2, "p95_ms": 20, "p99_ms": 100, "p99_9_ms": 1000}
"""Of how many one is slower, by the name of the quantile."""
CURVES = {
    "feed": {
        "huozhao": "ours, in turn with",
        "naive": "the naive stack",
        "feeds alone": "in process, alone",
        "feeds with churn": "beside a writer",
        "feeds while it swaps": "beside a swap",
        "feed and events, 70 %, even: feed": "HTTP, 70 %, even",
        "feed and events, 70 %, Poisson: feed": "HTTP, Poisson",
    },
    "http": {
        "empty, 1 connection": "empty route",
        "feed of 50, 1 connection": "1 connection",
        "feed of 50, 8 connections": "8 connections",
        "feed of 50, 70 %, even": "70 %, even",
        "feed of 50, 70 %, Poisson": "70 %, Poisson",
    },
    "overload": {
        "8 connections, each at once": "at capacity",
        "3 times that, Poisson": "3 times that",
    },
    "soak": {
        "feed and events, 70 %, Poisson: feed": "pages",
        "feed and events, 70 %, 50 ms: feed": "pages, 50 ms",
        "feed and events, 70 %, Poisson: events": "events",
        "effect: a room starts": "a room starts",
        "effect: a room ends": "a room ends",
        "effect: its price changes": "a price changes",
    },
}
"""What is drawn of a benchmark's systems, and by which name."""


def of_times(names: Mapping[str, str]) -> Callable[[Rows], str | None]:
    """Draws the quantiles of some systems: how slow one page in so many is."""

    def drawn(rows: Rows) -> str | None:
        series: dict[str, list[Point]] = {}
        for row in rows:
            points = [(float(n), ms) for name, n in ONE_IN.items() if is_number(ms := row.get(name)) and ms > 0]
            if row.get("system") in names and len(points) == len(ONE_IN):
                series[names[str(row["system"])]] = points
        if not series:
            return None
        x = Axis.over("one in so many is slower", list(map(float, ONE_IN.values())))
        y = Axis.over("ms", [ms for points in series.values() for _, ms in points])
        return page(lines("Latency", x, y, series))

    return drawn


LOOP = {
    "expected": "Gain a page, as the world expects it",
    "entropy": "Category entropy a person, bits",
    "gini": "Gini of exposure over owners",
    "cold": "Share of slots for items under 24 h",
    "load": "Share of slots that sell",
    "explored": "Share of slots drawn by lot",
}
ACROSS = 3
"""Panels of a loop side by side."""


def of_loop(rows: Rows) -> str | None:
    """What becomes of every system by day, a panel for each figure."""
    panels: list[str] = []
    for figure, title in LOOP.items():
        series: dict[str, list[Point]] = {}
        for row in rows:
            if is_number(a := row.get("day")) and is_number(b := row.get(figure)):
                series.setdefault(str(row["system"]), []).append((a, b))
        if series:
            every = [point for points in series.values() for point in points]
            x, y = (Axis.over(name, [point[k] for point in every], log=False) for k, name in enumerate(("day", "")))
            right, down = len(panels) % ACROSS * WIDTH, len(panels) // ACROSS * HEIGHT
            panels.append(f'<g transform="translate({right} {down})">{lines(title, x, y, series)}</g>')
    rows_of = -(-len(panels) // ACROSS)
    return page("".join(panels), min(len(panels), ACROSS), rows_of * HEIGHT) if panels else None


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


DRAWN: dict[str, Callable[[Rows], str | None]] = {
    "index": of_index,
    "loop": of_loop,
    "scale": of_scale,
    "score": of_score,
    **{name: of_times(names) for name, names in CURVES.items()},
}


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
        draw([json.loads(file.read_text("utf-8"))], PICTURES)
