"""``python -m benchmarks``: run benchmarks by name, print their tables, write them as JSON."""

import argparse
import importlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.report import Report

NAMES = ("score", "index", "hydrate", "feed", "replay", "rooms", "loop")


def main() -> int:
    """Run what the command line names; 1 when a result was wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*NAMES, "all"], default="all", help="which to run (default: all)")
    parser.add_argument("--quick", action="store_true", help="small sizes, at most half a minute each")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was measured to FILE")
    parser.add_argument("--against", type=Path, metavar="FILE", help="compare ratios with those of an earlier --json")
    given = parser.parse_args()
    earlier = read_ratios(given.against) if given.against else {}
    names = NAMES if "all" in given.names else tuple(dict.fromkeys(given.names))
    reports = []
    for name in names:
        print(f"{name}: running", file=sys.stderr)
        reports.append(importlib.import_module(f"benchmarks.{name}").run(quick=given.quick))
        show(reports[-1], earlier)
    if given.json:
        written = [report.as_json() for report in reports]
        given.json.write_text(json.dumps(written[0] if len(written) == 1 else written, indent=1) + "\n")
    return 1 if any(report.faults for report in reports) else 0


def read_ratios(file: Path) -> dict[str, float]:
    """The ratios by name of what an earlier run wrote, of one benchmark or several."""
    written = json.loads(file.read_text("utf-8"))
    reports = written if isinstance(written, list) else [written]
    return {name: ratio for report in reports for name, ratio in report["ratios"].items()}


def show(report: Report, earlier: Mapping[str, float]) -> None:
    """Print a report's rows, those of like columns in one table, its ratios beside earlier ones, and its faults."""
    console = Console()
    for columns in dict.fromkeys(tuple(row) for row in report.rows):
        table = Table(*columns, title=report.benchmark)
        for row in report.rows:
            if tuple(row) == columns:
                table.add_row(*map(_cell, row.values()))
        console.print(table)
    for name, ratio in report.ratios.items():
        before = f" (was {earlier[name]:.4g}, times {ratio / earlier[name]:.3g})" if earlier.get(name) else ""
        console.print(f"{name} = {ratio:.4g}{before}")
    for fault in report.faults:
        console.print(f"WRONG: {fault}", style="bold red")


def _cell(value: str | float) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
