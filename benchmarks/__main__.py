"""``python -m benchmarks``: run benchmarks by name, print their tables, write them as JSON and draw them."""

import argparse
import importlib
import json
import math
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.bars import judged
from benchmarks.plots import PICTURES, RESULTS, draw
from benchmarks.report import Report

NAMES = (
    "score", "index", "hydrate", "rerank", "feed", "scale", "http", "ingest", "overload", "soak", "crash", "faults",
    "fuzz", "replay", "train", "rooms", "rules", "loop", "explore",
)  # fmt: skip
"""Modules of this package, in the order that ``all`` runs them."""


STOPPED = 130
"""The exit code of what Ctrl-C stopped, as shells have it."""


def main() -> int:
    """Run what the command line names; 1 when a result was wrong or a run broke off, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    choices = [*NAMES, "all"]
    parser.add_argument("names", nargs="*", metavar="NAME", default=["all"], help=f"{', '.join(choices)} (default)")
    parser.add_argument("--quick", action="store_true", help="small sizes: about half a minute each, `rules` a minute")
    parser.add_argument("--json", type=_place, metavar="FILE", help="write to FILE, or to NAME.json in a folder")
    parser.add_argument("--against", type=Path, metavar="FILE", help="compare ratios with those of an earlier --json")
    parser.add_argument(
        "--plots", type=_place, metavar="FOLDER", help="draw into FOLDER (default: where --json writes)"
    )
    given = parser.parse_args()
    if unknown := [name for name in given.names if name not in choices]:
        parser.error(f"there is no benchmark {unknown[0]!r}; choose from {', '.join(choices)}")
    try:
        earlier = read_ratios(given.against) if given.against else {}
    except (OSError, ValueError) as error:
        parser.error(f"--against {given.against}: {error}; give a file that --json wrote")
    for option, place in (("--json", given.json), ("--plots", given.plots)):
        try:
            check_place(place, folder=option == "--plots")
        except OSError as error:
            parser.error(f"{option} {place}: {error}; name a place that can be written")
    names = NAMES if "all" in given.names else tuple(dict.fromkeys(given.names))
    return run_all(names, earlier, quick=given.quick, file=given.json, plots=given.plots)


def run_all(
    names: tuple[str, ...], earlier: Mapping[str, float], *, quick: bool, file: Path | None, plots: Path | None
) -> int:
    """Run benchmarks one after the other, whatever becomes of each, and write down what they found."""
    reports: list[Report] = []
    broken: list[str] = []
    lost: list[str] = []
    for name in names:
        print(f"{name}: running", file=sys.stderr, flush=True)
        started = time.perf_counter()
        try:
            report = importlib.import_module(f"benchmarks.{name}").run(quick=quick)
        except KeyboardInterrupt:
            finished = ", ".join(report.benchmark for report in reports) or "none"
            print(f"{name}: stopped; finished before: {finished}", file=sys.stderr)
            return STOPPED
        except Exception:  # noqa: BLE001 - the others go on; it is shown, and the run fails
            traceback.print_exc()
            broken.append(name)
            continue
        print(f"{name}: {time.perf_counter() - started:.1f} s", file=sys.stderr, flush=True)
        reports.append(report)
        show(report, earlier)
        # After each: a long run that is stopped keeps what it measured.
        try:
            keep(reports, file, plots, alone=len(names) == 1)
        except OSError as error:
            print(f"{name}: {error}", file=sys.stderr)
            lost.append(name)
    wrong = [report.benchmark for report in reports if report.faults]
    for names_of, fate in ((broken, "broke off"), (wrong, "found wrong results"), (lost, "could not be written")):
        if names_of:
            print(f"{', '.join(names_of)}: {fate}", file=sys.stderr)
    return 1 if broken or wrong or lost else 0


def keep(reports: list[Report], file: Path | None, plots: Path | None, *, alone: bool) -> None:
    """Write reports as JSON, each to its own file where a folder is given, and draw them."""
    written = [report.as_json() for report in reports]
    if file and file.is_dir():
        (file / f"{reports[-1].benchmark}.json").write_text(as_text(written[-1]), "utf-8")
    elif file:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(as_text(written[0] if alone else written), "utf-8")
    if folder := plots or (_beside(file) if file else None):
        draw(written, folder)


def _beside(file: Path) -> Path:
    """Where pictures go when nobody says: to those of the documents for results that are committed, else beside."""
    folder = file if file.is_dir() else file.parent
    return PICTURES if folder.resolve() == RESULTS.resolve() else folder


def _place(said: str) -> Path:
    if not said:
        raise argparse.ArgumentTypeError("it is empty; name a file or a folder")
    return Path(said)


def check_place(place: Path | None, *, folder: bool) -> None:
    """Raise ``OSError`` unless results can be written to a place: before they are measured, not after."""
    if place is None:
        return
    within = place if folder or place.is_dir() else place.parent
    within.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=within):
        pass
    if place.exists() and not os.access(place, os.W_OK):
        raise PermissionError("it cannot be written")


def as_text(written: object) -> str:
    """JSON as it is committed; what is not a number, or no end of one, is null."""
    return json.dumps(_finite(written), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_ratios(file: Path) -> dict[str, float]:
    """The ratios by name of what an earlier run wrote, of one benchmark or several; null was not measured.

    Raises
    ------
    OSError, ValueError
        If the file cannot be read or is not what ``--json`` writes.
    """
    written = json.loads(file.read_text("utf-8"), parse_constant=lambda _: None)
    reports = written if isinstance(written, list) else [written]
    if not all(isinstance(report, dict) and isinstance(report.get("ratios"), dict) for report in reports):
        raise ValueError("it holds no report")
    ratios = {name: ratio for report in reports for name, ratio in report["ratios"].items() if ratio is not None}
    for name, ratio in ratios.items():
        if isinstance(ratio, bool) or not isinstance(ratio, int | float):
            raise ValueError(f"its ratio {name} is {ratio!r}, which is no number")  # noqa: TRY004  a file's fault
    return {name: float(ratio) for name, ratio in ratios.items()}


def show(report: Report, earlier: Mapping[str, float]) -> None:
    """Print a report's rows, those of like columns in one table, its ratios beside their bars, and its faults."""
    console = Console(width=None if sys.stdout.isatty() else 160)
    for columns in dict.fromkeys(tuple(row) for row in report.rows):
        table = Table(*columns, title=report.benchmark)
        for row in report.rows:
            if tuple(row) == columns:
                table.add_row(*map(cell, row.values()))
        console.print(table)
    if report.ratios:
        names = ("ratio", "measured", "half of the turns", "bar", "aim", "verdict")
        table = Table(*names, *(["earlier"] if earlier else []))
        for name, ratio in report.ratios.items():
            half = " to ".join(map(cell, report.spreads.get(name, ())))
            before = [compared(name, ratio, earlier)] if earlier else []
            table.add_row(name, cell(ratio), half, *judged(name, ratio), *before)
        console.print(table)
    for fault in report.faults:
        console.print(f"WRONG: {fault}", style="bold red", markup=False)


def compared(name: str, ratio: float, earlier: Mapping[str, float]) -> str:
    """What a ratio was in an earlier run, and how many times that it is now."""
    if name not in earlier:
        return ""
    was = earlier[name]
    return f"was {cell(was)}, times {ratio / was:.3g}" if was else f"was {cell(was)}"


def cell(value: str | float | None) -> str:
    """A value of a row as tables print it."""
    return f"{value:,.4g}" if isinstance(value, float) else "" if value is None else str(value)


if __name__ == "__main__":
    sys.exit(main())
