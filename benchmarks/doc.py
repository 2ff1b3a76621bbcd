"""The tables of docs/benchmarks.md, made of committed results: ``python -m benchmarks.doc`` rewrites them.

A page names a benchmark between ``<!-- measured: NAME -->`` and ``<!-- end -->``; what stands in between is ours. The
name ``verdicts`` stands for what is missed or not measured of all that has a bar.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.__main__ import NAMES
from benchmarks.bars import BARS, judged
from benchmarks.plots import DRAWN, PICTURES, RESULTS

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
MARKED = re.compile(r"(<!-- measured: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def rewritten(text: str) -> str:
    """A page with every marked part made anew."""
    made = {"verdicts": verdicts}
    return MARKED.sub(lambda found: found[1] + made.get(found[2], lambda: section(found[2]))() + found[3], text)


def verdicts() -> str:
    """How many ratios keep their bars, and each that does not or was not measured."""
    ratios = {name: ratio for of in NAMES for name, ratio in (read(of) or {"ratios": {}})["ratios"].items()}
    found = {name: judged(name, ratios[name])[2] for name in BARS if name in ratios}
    missed = [against_bar(name, ratios[name]) for name, verdict in found.items() if "missed" in verdict]
    missed += [unmeasured(name) for name in BARS if name not in ratios]
    met = sum("missed" not in verdict for verdict in found.values())
    said = f"Of {len(BARS)} ratios that have a bar or an aim {met} meet it."
    return f"{said}\n\n{table(missed)}" if missed else f"{said}\n"


def read(name: str) -> dict[str, Any] | None:
    """A benchmark's committed result, if there is one."""
    file = RESULTS / f"{name}.json"
    report: dict[str, Any] | None = json.loads(file.read_text("utf-8")) if file.exists() else None
    return report


def section(name: str) -> str:
    """A benchmark's committed tables, ratios and picture."""
    report = read(name)
    if report is None:
        return "Not measured at full size yet, so no figure stands here.\n"
    # What goes by day, and what a system finds by its effort, is drawn.
    rows = [row for row in report["rows"] if "day" not in row and row.get("filter") != "front"]
    parts = [
        table([row for row in rows if tuple(row) == columns]) for columns in dict.fromkeys(tuple(row) for row in rows)
    ]
    spreads = report.get("spreads", {})
    ratios = [against_bar(ratio, value, spreads.get(ratio)) for ratio, value in report["ratios"].items()]
    ratios += [unmeasured(bar) for bar in BARS if bar.startswith(f"{name}.") and bar not in report["ratios"]]
    if ratios:
        parts.append(table(ratios))
    if name in DRAWN and (PICTURES / f"{name}.svg").exists():
        parts.append(f"![{name}](pictures/{name}.svg)\n")
    parts.append(f"{on(report['machine'], report['versions'], report.get('date', ''))}\n")
    return "\n".join(parts)


def table(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows of like columns in Markdown; the last of a name's parts is its unit."""
    heads = [name.replace("_", " ").replace("p99 9", "p99.9") for name in rows[0]]
    lines = [heads, ["---"] * len(heads), *[[cell(value) for value in row.values()] for row in rows]]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def cell(value: object) -> str:
    """A value as a page shows it."""
    if value is None or value != value:  # noqa: PLR0124 - NaN alone is not itself
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def against_bar(name: str, value: float, spread: Sequence[float] | None = None) -> dict[str, object]:
    """A ratio, its quartiles over turns or seconds, its bar and its aim."""
    columns = ("bar", "aim", "verdict")
    half = " to ".join(map(cell, spread or ()))
    verdict = dict(zip(columns, judged(name, value), strict=True))
    return {"ratio": f"`{name}`", "measured": value, "half of the turns": half, **verdict}


def unmeasured(name: str) -> dict[str, object]:
    """A bar for which the committed result has no ratio: of a run that was void, or made before there was a bar."""
    return against_bar(name, math.nan) | {"verdict": "not measured"}


def on(machine: Mapping[str, object], versions: Mapping[str, str], date: str) -> str:
    """The machine and the day that a result is of, in a line."""
    able = [sign for name, sign in (("avx512f", "AVX-512"), ("avx2", "AVX2")) if machine.get(name)][:1]
    cores = f"{machine['cores']} cores" + (f", {machine['threads']} threads" if "threads" in machine else "")
    facts = [str(machine["processor"]), cores, *able, str(machine["system"]), f"Python {machine['python']}"]
    facts += [f"{name} {number}" for name, number in versions.items()]
    return f"<sub>{date or 'Day not kept'}, {', '.join(facts)}.</sub>"


if __name__ == "__main__":
    PAGE.write_text(rewritten(PAGE.read_text("utf-8")), "utf-8")
