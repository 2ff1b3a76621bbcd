"""What became of policies on trial, told as one page that stands alone, and as pictures where matplotlib is there."""

from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from importlib.util import find_spec
from itertools import zip_longest
from pathlib import Path
from textwrap import wrap

import numpy as np
from scipy import stats

from features.types import DoubleArray
from training.loops.bubble import FIGURES, OF_A_PERSON
from training.loops.trial import Lived
from training.reports.curves import COLOURS, Axis, lines
from training.reports.curves import page as picture

Tales = Mapping[str, Sequence[Lived]]
"""What became of each policy, world by world."""
SETTLED = 1
"""Figures of the table leave out so many days at the start, where that leaves any."""
WIDTH, CELL, AT_ONCE, LONGEST = 100, 18, 4, 56
"""Of the table in plain text: its columns, those of a mean with its interval, policies side by side, words of a figure.
"""
UNITS = {
    "gain": "gain",
    "expected": "gain",
    "entropy": "bits",
    "distance": "1 − cosine",
    "gini": "0 all alike, 1 all with one",
}
"""What a figure counts in; the others are shares."""
COSTS = {"gain": "gain", "expected": "expected gain"}
DISCOVERY = "best tenth of what is new, shown 100 times within a day"


def by_day(lived: Sequence[Lived], figure: str) -> DoubleArray:
    """A figure's mean over worlds (days,)."""
    mean: DoubleArray = np.mean([one.figures[figure] for one in lived], axis=0)
    return mean


def over_all(lived: Sequence[Lived], figure: str) -> DoubleArray:
    """A figure's mean over days, by world (seeds,)."""
    if figure == "discovery":
        return np.array([one.discovery[100] for one in lived])
    rows = np.array([one.figures[figure] for one in lived])
    means: DoubleArray = np.nanmean(rows[:, SETTLED:] if rows.shape[1] > SETTLED else rows, axis=1)
    return means


def half_width(values: DoubleArray) -> float:
    """Of the 95 % interval of a mean over worlds, by Student's t; NaN for one."""
    n = len(values)
    if n < 2:
        return float("nan")
    return float(stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) / np.sqrt(n))


def panel(lived: Tales, figure: str) -> str:
    """One figure over the days, a line for each policy."""
    series = {
        name: [(day + 1.0, float(value)) for day, value in enumerate(by_day(some, figure)) if np.isfinite(value)]
        for name, some in lived.items()
    }
    every = [point for points in series.values() for point in points] or [(1.0, 0.0)]
    x = Axis.over("day", [a for a, _ in every], log=False)
    y = Axis.over(UNITS.get(figure, "share"), [b for _, b in every], log=False)
    return picture(lines(FIGURES[figure], x, y, series))


def write_tale(out: Path, lived: Tales, days: int, users: int) -> Path:
    """Write the page; returns where it is."""
    style = files("training.reports").joinpath("report.css").read_text("utf-8")
    seeds = len(next(iter(lived.values())))
    first, *others = lived
    panels = "".join(f"<figure>{panel(lived, figure)}</figure>" for figure in FIGURES)
    text = f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Policies side by side</title><style>{style}
figure svg {{ width: 100%; height: auto; }} .grid {{ grid-template-columns: repeat(auto-fill, minmax(24rem, 1fr)); }}
.wide {{ overflow-x: auto; max-width: 100%; }}
table {{ border-collapse: collapse; }} th, td {{ padding: .25rem .8rem; text-align: right; }}
th:first-child {{ text-align: left; }}</style>
<main><p class="eyebrow">huozhao simulate</p><h1>Policies side by side</h1>
<p class="lede">{days} days in {seeds} simulated world{"s" * (seeds > 1)} of {users} people each, the same visits
and the same luck for every policy. Means over worlds; ± is half of a 95&nbsp;% interval, of differences to
{escape(first)} in pairs by world.</p>
{_table(lived, first, others)}
{_people(lived)}
<div class="grid">{panels}</div></main></html>
"""
    path = out / "index.html"
    path.write_text(text, "utf-8")
    return path


def _table(lived: Tales, first: str, others: Sequence[str]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in lived) + "".join(
        f"<th>{escape(name)} − {escape(first)}</th>" for name in others
    )
    rows = "".join(_row(lived, first, others, figure, words) for figure, words in FIGURES.items())
    rows += _row(lived, first, others, "discovery", DISCOVERY)
    for figure, words in COSTS.items() if others else ():
        costs = "".join(f"<td>{_cell(cost(lived[name], lived[first], figure))}</td>" for name in others)
        rows += f"<tr><th>cost in {words}, % of {escape(first)}'s</th>{'<td></td>' * len(lived)}{costs}</tr>"
    return f'<div class="wide"><table><tr><th>by day, without the first</th>{head}</tr>{rows}</table></div>'


def _people(lived: Tales) -> str:
    """How far people of all worlds differ: a tenth had less than the first number, a tenth more than the last."""
    head = "".join(f"<th>{escape(name)}</th>" for name in lived)
    rows = "".join(_people_row(lived, figure) for figure in OF_A_PERSON)
    return f'<div class="wide"><table><tr><th>person by person: 10 %, median, 90 %</th>{head}</tr>{rows}</table></div>'


def _people_row(lived: Tales, figure: str) -> str:
    cells = "".join(f"<td>{_spread(some, figure)}</td>" for some in lived.values())
    return f"<tr><th>{escape(FIGURES[figure])}</th>{cells}</tr>"


def _spread(lived: Sequence[Lived], figure: str) -> str:
    values = [person[figure] for one in lived for person in one.people.values()]
    return " · ".join(f"{value:.3g}" for value in np.quantile(values, (0.1, 0.5, 0.9))) if values else "–"


def side_by_side(lived: Tales) -> str:
    """The same table in plain text of 100 columns, and what each policy's gain costs beside the first's.

    Below a mean, in brackets, is what it has beyond the first's. More than four policies are told in several tables,
    each with the first.
    """
    first, *others = lived
    some = [others[at : at + AT_ONCE - 1] for at in range(0, len(others), AT_ONCE - 1)] or [[]]
    return "\n\n".join(_beside(lived, first, names) for names in some)


def _beside(lived: Tales, first: str, others: Sequence[str]) -> str:
    names = [first, *others]
    wide = min(WIDTH - len(names) * (CELL + 1), LONGEST)
    lines = [_line("", [shorten(name, CELL) for name in names], wide)]
    for figure, words in (*FIGURES.items(), ("discovery", DISCOVERY)):
        values = [over_all(lived[name], figure) for name in names]
        beyond = [f"({_cell(one - values[0], '+')})" for one in values[1:]]
        lines += _lines(words, [[_cell(one) for one in values], ["", *beyond] if beyond else []], wide)
    for figure, words in COSTS.items() if others else ():
        costs = [_cell(cost(lived[name], lived[first], figure)) for name in others]
        lines += _lines(f"cost in {words}, % of {first}'s", [["", *costs]], wide)
    return "\n".join(lines)


def shorten(name: str, most: int) -> str:
    """A name of at most so many characters."""
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _lines(words: str, rows: Sequence[Sequence[str]], wide: int) -> list[str]:
    """Rows of cells with words beside them, wrapped."""
    pairs = zip_longest(wrap(words, wide), filter(None, rows))
    return [_line(said or "", cells or (), wide) for said, cells in pairs]


def _line(words: str, cells: Sequence[str], wide: int) -> str:
    return (words.ljust(wide) + "".join(f" {cell:>{CELL}}" for cell in cells)).rstrip()


def cost(lived: Sequence[Lived], first: Sequence[Lived], figure: str = "gain") -> DoubleArray:
    """How much less a policy brings than the first, in per cent of the first's, by world (seeds,)."""
    less: DoubleArray = 100.0 * (1.0 - over_all(lived, figure) / over_all(first, figure))
    return less


def _row(lived: Tales, first: str, others: Sequence[str], figure: str, words: str) -> str:
    cells = "".join(f"<td>{cell}</td>" for cell in _cells(lived, first, others, figure))
    return f"<tr><th>{escape(words)}</th>{cells}</tr>"


def _cells(lived: Tales, first: str, others: Sequence[str], figure: str) -> list[str]:
    """Every policy's mean, then every other's difference to the first."""
    values = {name: over_all(some, figure) for name, some in lived.items()}
    return [_cell(some) for some in values.values()] + [_cell(values[name] - values[first]) for name in others]


def _cell(values: DoubleArray, sign: str = "") -> str:
    wide = half_width(values)
    return f"{np.mean(values):{sign}.3g}" + (f" ± {wide:.2g}" if np.isfinite(wide) else "")


def write_pictures(out: Path, lived: Tales) -> str:
    """Draw every figure as a PNG; returns what to say of it."""
    if find_spec("matplotlib") is None:
        return "No PNGs: they need `pip install 'huozhao[pictures]'`."
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    for figure, words in FIGURES.items():
        drawn = Figure(figsize=(6, 4), layout="constrained")
        axes = drawn.subplots()
        for place, (name, some) in enumerate(lived.items()):
            days, colour = by_day(some, figure), COLOURS[place % len(COLOURS)]
            for one in some if len(some) > 1 else ():
                axes.plot(np.arange(1, len(days) + 1), one.figures[figure], linewidth=0.7, alpha=0.35, color=colour)
            axes.plot(np.arange(1, len(days) + 1), days, marker="o", markersize=3, label=name, color=colour)
        worlds = len(next(iter(lived.values())))
        thin = f" (mean of {worlds} worlds; thin: each of them)" if worlds > 1 else ""
        axes.set(title=words, xlabel=f"day{thin}", ylabel=UNITS.get(figure, "share"))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
        drawn.savefig(out / f"{figure}.png", dpi=110)
    return f"{len(FIGURES)} pictures: {', '.join(f'{figure}.png' for figure in FIGURES)}."
