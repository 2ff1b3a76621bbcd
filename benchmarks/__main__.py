"""``python -m benchmarks``: run benchmarks by name, print their tables, write them as JSON."""

import argparse
import importlib
import json
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.report import Report

NAMES = ("score", "replay", "rooms", "loop")


def main() -> int:
    """Run what the command line names; 1 when a result was wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*NAMES, "all"], default="all", help="which to run (default: all)")
    parser.add_argument("--quick", action="store_true", help="small sizes, at most half a minute each")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was measured to FILE")
    given = parser.parse_args()
    names = NAMES if "all" in given.names else tuple(dict.fromkeys(given.names))
    reports = []
    for name in names:
        print(f"{name}: running", file=sys.stderr)
        reports.append(importlib.import_module(f"benchmarks.{name}").run(quick=given.quick))
        show(reports[-1])
    if given.json:
        written = [report.as_json() for report in reports]
        given.json.write_text(json.dumps(written[0] if len(written) == 1 else written, indent=1) + "\n")
    return 1 if any(report.faults for report in reports) else 0


def show(report: Report) -> None:
    """Print a report's rows, ratios and faults."""
    console = Console()
    columns = list(dict.fromkeys(key for row in report.rows for key in row))
    table = Table(*columns, title=report.benchmark)
    for row in report.rows:
        table.add_row(*(_cell(row.get(column, "")) for column in columns))
    console.print(table)
    for name, ratio in report.ratios.items():
        console.print(f"{name} = {ratio:.4g}")
    for fault in report.faults:
        console.print(f"WRONG: {fault}", style="bold red")


def _cell(value: str | float) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
