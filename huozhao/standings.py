"""What people read of the baselines, of calibration and of retrieval: tables within 120 columns."""

import math
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from huozhao.show import FEWEST
from training import Row
from training.baselines.systems import BASELINES
from training.judging.calibrated import ENOUGH, calibrated
from training.judging.cold import JUDGED, beside_best
from training.judging.figures import OURS
from training.judging.recall import DEPTHS, SHOWN
from training.judging.worth import worth


def standings(rows: Sequence[Row]) -> RenderableType:
    """Counts, a line a system (order by head within slates, NDCG@5 by gain), ours less each, what each learned."""
    found = {(row.system, row.head, row.metric): row for row in rows if row.kind == row.slice == "all"}
    shown = [column for column in JUDGED if (OURS, *column) in found]
    table, differences = _table("system", *(head for head, _ in shown)), _table("ours − …", *(h for h, _ in shown))
    for name in ("pairs", "slates", "positives"):
        table.add_row(name, *(f"{getattr(found[OURS, *column], name):,}" for column in shown), style="dim")
    for system in (OURS, *(name for name in BASELINES if any(row.system == name for row in rows))):
        table.add_row(system, *(_cell(found.get((system, *column))) for column in shown))
        if system != OURS:
            above = [found.get((OURS, head, f"{metric}_diff_vs_{system}")) for head, metric in shown]
            differences.add_row(system, *(_cell(row, "+") for row in above))
    learned = [Text(f"{name}: {baseline.fitted_on}.", "dim") for name, baseline in BASELINES.items()]
    verdict = found.get((OURS, "value", "ndcg5_diff_vs_lambdamart"))
    return Group(table, Text(), differences, *([Text(_verdict(verdict))] if verdict else []), *learned)


def _verdict(row: Row) -> str:
    """Whether the value ranks better than one list-wise model of the gain."""
    if row.low > 0 or row.high < 0:
        return f"{'The value' if row.value > 0 else 'LambdaMART'} ranks better: gain NDCG@5 {_cell(row, '+')}."
    return f"Neither the value nor LambdaMART is shown to rank better: gain NDCG@5 {_cell(row, '+')}, value less it."


def cold(rows: Sequence[Row]) -> RenderableType:
    """Ours beside the best other system, where people or items were unknown when training ended."""
    table = _table("slice", "head", "pairs", "ours", "best", "", "ours − best", "worse")
    for one in beside_best(rows, tuple(BASELINES)):
        shown = one.best.system if one.best else "–"
        cells = (_cell(one.ours), shown, _cell(one.best), _cell(one.apart, "+"), one.worse)
        table.add_row(one.ours.slice, one.ours.head, f"{one.ours.pairs:,}", *cells)
    under = "The best of all baselines. Worse: the interval of ours less it lies below 0. Too few pairs give no figure."
    return Group(table, Text(under, "dim"))


def calibration(rows: Sequence[Row]) -> RenderableType:
    """Every head and kind with outcomes enough, and which bars of ``training.judging.calibrated`` it misses."""
    names = ("head", "positives", "π", "slope", "log loss", "constant's", "ECE", "by chance", ".1 π", "holds")
    table = _table("kind", *names)
    for one in calibrated(rows):
        numbers = (one.rate, one.slope.value, one.loss, one.constant, one.ece, one.chance, one.bar)
        said = "misses " + ", ".join(one.misses) if one.misses else "yes"
        table.add_row(one.kind, one.head, f"{one.positives:,}", *(f"{number:.4f}" for number in numbers), said)
    under = f"Heads of fewer than {ENOUGH} positives of a kind are left out. By chance: the ECE of what holds."
    return Group(table, Text(under, "dim"))


def retrieval(rows: Sequence[Row]) -> RenderableType:
    """By kind, one line a system: recall at three depths, for warm and cold people, coverage and what is new."""
    found = {(row.system, row.kind, row.slice, row.metric): row for row in rows}
    names = (*(f"recall@{depth}" for depth in DEPTHS), "warm @100", "cold @100", f"coverage@{SHOWN}", "new", "union −")
    table = _table("kind", "system", *names)
    for kind, system in dict.fromkeys((row.kind, row.system) for row in rows):
        metrics = [("all", f"recall@{depth}") for depth in DEPTHS]
        if system == "legal":
            metrics = [("all", "none"), ("all", "none"), ("all", "recall@all")]
        metrics += [("user=warm", "recall@100"), ("user=cold", "recall@100")]
        metrics += [("all", f"coverage@{SHOWN}"), ("all", f"new_share@{SHOWN}")]
        cells = [_cell(found.get((system, kind, *metric)), least=0) for metric in metrics]
        difference = found.get(("union", kind, "all", f"recall@100_diff_vs_{system}"))
        table.add_row(kind, system, *cells, _cell(difference, "+", least=0))
    asked = [row for row in rows if (row.system, row.slice, row.metric) == ("union", "all", f"recall@{DEPTHS[0]}")]
    people = [f"{row.kind}: {row.slates:,} people, {row.positives:,} wanted" for row in asked]
    parts = _table("kind", "source", *(f"@{depth}" for depth in DEPTHS), "new with it", "without", "verdict")
    for one in worth(rows):
        cells = [_around(row, "+") for row in one.by_depth]
        parts.add_row(
            one.kind, one.source, *cells, *(_figure(row.value) for row in (one.new, one.new_without)), one.verdict
        )
    under = "Mean recall a person; the last column is the union's recall@100 less the system's. "
    under += f"{'; '.join(people)}."
    beside = "What a source adds to the others: the union's recall less that without it, and the share of new items."
    return Group(table, Text(under, "dim"), Text(), parts, Text(beside, "dim"))


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _cell(row: Row | None, sign: str = "", least: int = FEWEST) -> str:
    if row is None or not math.isfinite(row.value) or min(row.positives, row.pairs) < least:
        return "–"
    return f"{row.value:{sign}.3f}" if least == 0 else _around(row, sign)


def _figure(value: float, sign: str = "") -> str:
    return f"{value:{sign}.3f}" if math.isfinite(value) else "–"


def _around(row: Row, sign: str = "") -> str:
    """A figure with its interval, where there is one."""
    value = _figure(row.value, sign)
    if not math.isfinite(row.low):
        return value
    return f"{value} [{row.low:{sign}.3f},{row.high:{sign}.3f}]".replace("0.", ".")
