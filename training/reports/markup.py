"""Pieces of a page that several chapters of the report are made of; whatever is told is escaped."""

from collections.abc import Sequence
from html import escape

import numpy as np

from training.judging.figures import Row
from training.reports.pictures import short


def figure(title: str, small: str, drawn: str, caption: str) -> str:
    """A picture with a title and a caption."""
    heading = f"<h3>{escape(title)}<small>{escape(small)}</small></h3>"
    return f"<figure>{heading}{drawn}<figcaption>{escape(caption)}</figcaption></figure>"


def titles(*names: str) -> str:
    """The heads of a table's columns; names stand left, numbers right."""
    return "".join(f'<th class="{"name" if name in NAMED else ""}">{escape(name)}</th>' for name in names)


NAMED = ("head", "system", "source", "holds")


def scrolled(head: str, lines: Sequence[str]) -> str:
    """A table that scrolls by itself where the page is narrow."""
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def grid(figures: Sequence[str]) -> str:
    """Pictures side by side."""
    return f'<div class="grid">{"".join(figures)}</div>'


def line(*cells: str, names: int = 2) -> str:
    """A row of a table, of cells that are markup already; the first so many are names."""
    inside = (f"<td{' class=name' if place < names else ''}>{cell}</td>" for place, cell in enumerate(cells))
    return f"<tr>{''.join(inside)}</tr>"


def interval(row: Row | None, places: int = 3, sign: str = "") -> str:
    """A figure and its interval; a dash where it is not defined."""
    if row is None or not np.isfinite(row.value):
        return "–"
    said = signed if sign else short
    value = said(row.value, places)
    if not np.isfinite(row.low):
        return value
    return f"{value} <small>{said(row.low, places)} – {said(row.high, places)}</small>"


def signed(value: float, places: int = 3) -> str:
    """A number with its sign, without the zero before its point."""
    return ("−" if value < 0 else "+") + short(abs(value), places) if np.isfinite(value) else "–"
