"""The tables of docs/benchmarks.md, made of committed results: ``python -m benchmarks.doc`` rewrites them.

A page names a benchmark between ``<!-- measured: NAME -->`` and ``<!-- end -->``; what stands in between is ours.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.bars import judged
from benchmarks.plots import DRAWN, PICTURES, RESULTS

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
MARKED = re.compile(r"(<!-- measured: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def rewritten(text: str) -> str:
    """A page with every marked part made anew."""
    return MARKED.sub(lambda found: found[1] + section(found[2]) + found[3], text)


def section(name: str) -> str:
    """A benchmark's committed tables, ratios and picture."""
    file = RESULTS / f"{name}.json"
    if not file.exists():
        return "Not measured at full size yet, so no figure stands here.\n"
    report = json.loads(file.read_text("utf-8"))
    # What goes by day, and what a system finds by its effort, is drawn.
    rows = [row for row in report["rows"] if "day" not in row and row.get("filter") != "front"]
    parts = [
        table([row for row in rows if tuple(row) == columns]) for columns in dict.fromkeys(tuple(row) for row in rows)
    ]
    if report["ratios"]:
        parts.append(table([against_bar(ratio, value) for ratio, value in report["ratios"].items()]))
    if name in DRAWN and (PICTURES / f"{name}.svg").exists():
        parts.append(f"![{name}](pictures/{name}.svg)\n")
    parts.append(f"{on(report['machine'], report['versions'])}\n")
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


def against_bar(name: str, value: float) -> dict[str, object]:
    """A ratio beside its bar and its aim."""
    columns = ("bar", "aim", "verdict")
    return {"ratio": f"`{name}`", "measured": value, **dict(zip(columns, judged(name, value), strict=True))}


def on(machine: Mapping[str, object], versions: Mapping[str, str]) -> str:
    """The machine that a result is of, in a line."""
    able = [sign for name, sign in (("avx512f", "AVX-512"), ("avx2", "AVX2")) if machine.get(name)][:1]
    cores = f"{machine['cores']} cores" + (f", {machine['threads']} threads" if "threads" in machine else "")
    facts = [str(machine["processor"]), cores, *able, str(machine["system"]), f"Python {machine['python']}"]
    facts += [f"{name} {number}" for name, number in versions.items()]
    return f"<sub>{', '.join(facts)}.</sub>"


if __name__ == "__main__":
    PAGE.write_text(rewritten(PAGE.read_text("utf-8")), "utf-8")
