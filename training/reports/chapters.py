"""Chapters of the report: its summary, whether probabilities hold, who is shown, watch time, what the sources find."""

from collections.abc import Sequence
from html import escape

import numpy as np

from training.baselines.systems import BASELINES
from training.judging.calibrated import ENOUGH, Calibrated, calibrated
from training.judging.cohorts import DECILES
from training.judging.cold import beside_best
from training.judging.figures import OURS, Row
from training.judging.recall import DEPTHS, SHOWN
from training.judging.worth import worth
from training.reports import pictures
from training.reports.findings import Findings
from training.reports.markup import figure, grid, interval, line, scrolled, signed, titles
from training.reports.pictures import short

FEWEST = 20
"""A difference of fewer positives or pairs is not told."""
OWN = (OURS, "watch_rank", "with_watch")
"""Ours, a term that it could have, and ours with it: nothing to be beaten."""
SUMMED_UP = (("complete", "gauc", "of pairs in the right order for complete"), ("value", "ndcg5", "NDCG@5 of the gain"))


def summary(found: Findings) -> str:
    """What the page says, in a few lines."""
    said = [*_order(found.rows), *_listwise(found.rows), *_holds(found.rows), *_before(found)]
    return f'<ul class="summary">{"".join(f"<li>{one}</li>" for one in said)}</ul>' if said else ""


def _order(rows: Sequence[Row]) -> list[str]:
    whole = [row for row in rows if row.kind == row.slice == "all"]
    said = []
    for head, metric, words in SUMMED_UP:
        of = {row.system: row for row in whole if (row.head, row.metric) == (head, metric) and np.isfinite(row.value)}
        if OURS not in of:
            continue
        best = max((row for name, row in of.items() if name not in OWN), key=lambda row: row.value, default=None)
        more = ""
        if best is not None:
            gap = (OURS, head, f"{metric}_diff_vs_{best.system}")
            apart = next((row for row in whole if (row.system, row.head, row.metric) == gap), None)
            told = f" ({_apart(apart)})" if apart else ""
            more = f"; best beside it {escape(best.system)}, {short(best.value)}{told}"
        ours = of[OURS]
        said.append(f"<b>{short(ours.value)}</b> {words}, {ours.pairs:,} pairs of {ours.slates:,} slates{more}.")
    return said


def _apart(row: Row) -> str:
    gap = f"{signed(row.value)} [{signed(row.low)}, {signed(row.high)}]"
    return gap if row.p_value is None else f"{gap}, p = {short(row.p_value)}"


def _listwise(rows: Sequence[Row]) -> list[str]:
    """Which of the value and LambdaMART ranks better by gain."""
    row = _whole(rows, "ndcg5_diff_vs_lambdamart")
    if row is None:
        none = "LambdaMART was not fitted for this page; <code>huozhao report --baselines</code> does."
        return [none] if rows else []
    if not np.isfinite(row.value - row.low):
        few = f"{row.slates:,} slates whose gains differ, {row.pairs:,} pairs"
        return [f"Whether the value or LambdaMART ranks better by gain cannot be told of {few}."]
    gap = f"{_apart(row)}, the value less LambdaMART"
    if row.low > 0 or row.high < 0:
        better, worse = ("the value", "LambdaMART") if row.value > 0 else ("LambdaMART", "the value")
        return [f"By gain {better} ranks better than {worse}: {gap}."]
    return [f"By gain neither the value nor LambdaMART is shown to rank better: {gap}."]


def _whole(rows: Sequence[Row], metric: str) -> Row | None:
    return next((row for row in rows if row.metric == metric and row.kind == row.slice == "all"), None)


def _holds(rows: Sequence[Row]) -> list[str]:
    judged = calibrated(rows)
    if not judged:
        return []
    missed = [one for one in judged if one.misses]
    names = ", ".join(f"{one.head} of {_kind(one)} ({', '.join(one.misses)})" for one in missed)
    noise = sum(one.is_noise for one in missed)
    more = f" Of {noise} of these chance alone would miss the bar." if noise else ""
    told = f": not {escape(names)}.{more}" if missed else "."
    share = f"{len(judged) - len(missed)} of {len(judged)}"
    return [f"Probabilities hold for <b>{share}</b> heads and kinds with {ENOUGH} positives{told}"]


def _kind(one: Calibrated) -> str:
    return "all kinds" if one.kind == "all" else one.kind


def _before(found: Findings) -> list[str]:
    figures = found.changes.figures if found.changes else ()
    one = next((each for each in figures if (each.metric, each.head) == ("gauc", "complete")), None)
    if found.changes is None or one is None or one.before is None:
        return []
    before = f"<code>{escape(found.changes.before)}</code>"
    return [f"The bundle before, {before}, had {short(one.before)} of complete in its own report."]


def held(found: Findings) -> str:
    """Every head and kind by the three bars of calibration, with the noise that so few positives bring."""
    judged = calibrated(found.rows)
    if not judged:
        return ""
    numbers = ("positives", "rows", "rate π", "slope", "log loss", "constant", "ECE", "by chance", ".1 π")
    return (
        f"<p>Heads and kinds with {ENOUGH} positives or more. A slope belongs within .9 and 1.1, the log loss below "
        "that of the constant rate, the calibration error (ECE, fifteen bins of equal mass) within a tenth of π. “By "
        "chance” is the ECE that probabilities which hold would be expected to have with so few positives: noise adds "
        "to an absolute value.</p>"
        + scrolled(titles("kind", "head", *numbers, "holds"), [_held(one) for one in judged])
    )


def _held(one: Calibrated) -> str:
    numbers = (one.loss, one.constant, one.ece, one.chance, one.bar)
    mark = "soft" if one.is_noise else "worse" if one.misses else "better"
    said = f'<span class="{mark}">{escape("not " + ", ".join(one.misses) if one.misses else "yes")}</span>'
    cells = (
        f"{one.positives:,}",
        f"{one.slope.rows:,}",
        short(one.rate, 4),
        interval(one.slope),
        *(short(each, 4) for each in numbers),
        said,
    )
    return line(escape(one.kind), escape(one.head), *cells)


def exposure(found: Findings) -> str:
    """Who is on top of a page by tenth of duration, before (as the log showed) and after."""
    rows = {(row.system, row.slice): row for row in found.rows if row.metric == "exposure_share"}
    names = [f"duration={tenth}" for tenth in range(1, DECILES + 1)]
    systems = dict.fromkeys(system for system, _ in rows)
    shares = {system: [rows[system, name].value for name in names if (system, name) in rows] for system in systems}
    shares = {system: of for system, of in shares.items() if len(of) == DECILES and np.isfinite(of).all()}
    if not {"log", OURS} <= {*shares}:
        return ""
    counts = f"{next(iter(rows.values())).slates:,} pages of two videos or more"
    figures = [
        figure(system, "", pictures.tenths(shares["log"], of), counts)
        for system, of in shares.items()
        if system != "log"
    ]
    return (
        "<h2>Who is shown, by duration</h2><p>Videos in tenths of their duration, the shortest left. The line is the "
        "share of each tenth in what the log showed, a bar its share of first videos of a page by each order: what is "
        "short is completed for being short.</p>"
        '<p class="note key"><span><i class="t"></i>as the log showed</span><span><i class="n"></i>put first</span></p>'
        + grid(figures)
    )


def watch(found: Findings) -> str:
    """Predicted watch times: order within slates, error in seconds."""
    of = [row for row in found.rows if row.head == "watch_time" and row.kind == row.slice == "all"]
    rows = {(row.system, row.metric): row for row in of if "_diff_vs_" not in row.metric}
    if not rows:
        return ""
    metrics = tuple(dict.fromkeys(metric for _, metric in rows))
    lines = [
        line(escape(system), *(interval(rows.get((system, metric))) for metric in metrics), names=1)
        for system in dict.fromkeys(system for system, _ in rows)
    ]
    watches, pairs = max(row.positives for row in of), max(row.pairs for row in of)
    apart = _whole(found.rows, "ndcg5_diff_vs_with_watch")
    more = f" It would enter the value if the value ranked better with it: without it {_apart(apart)}." if apart else ""
    return (
        f"<h2>Watch time</h2><p>{watches:,} watches, {pairs:,} pairs of one slate. <code>watch_rank</code> predicts "
        f"the percentile within bins of duration.{more}</p>{scrolled(titles('system', *metrics), lines)}"
    )


def retrieval(found: Findings) -> str:
    """What every source, their union and peers find of what people wanted next."""
    rows = {(row.system, row.kind, row.slice, row.metric): row for row in found.retrieval}
    if not rows:
        return ""
    metrics = [("all", f"recall@{depth}") for depth in DEPTHS]
    metrics += [("user=warm", "recall@100"), ("user=cold", "recall@100")]
    metrics += [("all", f"coverage@{SHOWN}"), ("all", f"new_share@{SHOWN}")]
    lines = []
    for kind, system in dict.fromkeys((row.kind, row.system) for row in found.retrieval):
        apart = rows.get(("union", kind, "all", f"recall@100_diff_vs_{system}"))
        cells = (interval(rows.get((system, kind, *metric))) for metric in metrics)
        lines.append(line(escape(kind), escape(system), *cells, interval(apart, sign="+")))
    first = ("union", "all", f"recall@{DEPTHS[0]}")
    asked = [row for row in found.retrieval if (row.system, row.slice, row.metric) == first]
    people = "; ".join(f"{row.kind}: {row.slates:,} people, {row.positives:,} wanted" for row in asked)
    depths = (f"@{depth}" for depth in DEPTHS)
    return (
        "<h2>What the sources find</h2><p>The mean share of what a person clicked or completed after training that is "
        "among the first so many found: each source on its own, their union, the union without each, and peers over "
        f"the same legal catalogue. {escape(people)}.</p>"
        + scrolled(
            titles("kind", "system", *depths, "warm @100", "cold @100", "coverage", "new", "union less it"), lines
        )
        + _worth(found.retrieval)
    )


def _worth(rows: Sequence[Row]) -> str:
    """What each source adds to the others."""
    told = worth(rows)
    if not told:
        return ""
    marks = {"costs recall": "worse", "not shown to add": "soft"}
    lines = []
    for one in told:
        said = f'<span class="{marks.get(one.verdict, "better")}">{escape(one.verdict)}</span>'
        apart = (interval(row, sign="+") for row in one.by_depth)
        cells = (*apart, interval(one.new), interval(one.new_without), said)
        lines.append(line(escape(one.kind), escape(one.source), *cells))
    names = (*(f"@{depth}" for depth in DEPTHS), "new with it", "without", "verdict")
    return (
        "<p>What a source is worth beside the others: the recall of the union less that of the union without it, and "
        "the share of what nobody was shown before training ended. A policy should name what adds either.</p>"
        + scrolled(titles("kind", "source", *names), lines)
    )


def standings(found: Findings) -> str:
    """A line a system, a column a head: its figure, and under it how far ours is above, people drawn alike for both."""
    rows = {(row.head, row.metric, row.system): row for row in found.rows if row.kind == row.slice == "all"}
    told = [
        (head, metric)
        for (head, metric, system), row in rows.items()
        if system == OURS and metric in ("gauc", "ndcg5") and min(row.positives, row.pairs) >= FEWEST
    ]
    names = [name for name in LED if name in told] or told
    systems = [OURS, *dict.fromkeys(system for _, metric, system in rows if metric == "gauc" and system not in OWN)]
    if not names or len(systems) == 1:
        return ""
    head = titles("system") + "".join(_counted(rows[*name, OURS]) for name in names)
    lines = [line(escape(system), *(_stands(rows, *name, system) for name in names), names=1) for system in systems]
    return (
        "<p>Under each figure stands how far ours is above it: green where the whole interval is above 0, red where it "
        f"is below.</p>{scrolled(head, lines)}"
    )


def cold(found: Findings) -> str:
    """Ours beside the best baseline where people or items are new."""
    names = tuple(dict.fromkeys(row.system for row in found.rows if row.system in BASELINES))
    told = [one for one in beside_best(found.rows, names) if one.best is not None]
    if not told:
        return ""
    lines = []
    for one in told:
        apart, best = (_difference(one.apart) if one.apart else "–"), escape(one.best.system if one.best else "–")
        cells = (f"{one.ours.positives:,}", f"{one.ours.pairs:,}", interval(one.ours), best, interval(one.best), apart)
        lines.append(line(escape(one.ours.slice), escape(one.ours.head), *cells))
    columns = titles("part", "head", "positives", "pairs", "ours", "best of them", "", "ours less it")
    return (
        "<h2>Whom and what it has never seen</h2><p>People and items without an impression before training ended, "
        f"ours beside the best of {len(names)} baselines: chosen after the fact, so it flatters them.</p>"
        + scrolled(columns, lines)
    )


LED = (("complete", "gauc"), ("click", "gauc"), ("long_view", "gauc"), ("value", "ndcg5"))
"""What systems are told apart by; the page has the other heads in pictures, and in a table of all."""


def _counted(row: Row) -> str:
    """The title of a column, with its counts: they are those of all systems."""
    name = row.head if row.metric == "gauc" else f"{row.head}, NDCG@5"
    counts = f"{row.pairs:,} pairs<br>{row.slates:,} slates<br>{row.positives:,} positives"
    return f"<th>{escape(name)}<br><small>{counts}</small></th>"


def _stands(rows: dict[tuple[str, str, str], Row], head: str, metric: str, system: str) -> str:
    shown = interval(rows.get((head, metric, system)))
    apart = rows.get((head, f"{metric}_diff_vs_{system}", OURS))
    return shown if apart is None else f"{shown}<br>{_difference(apart)}"


def _difference(row: Row) -> str:
    if not np.isfinite(row.value):
        return "–"
    mark = "better" if row.low > 0 else "worse" if row.high < 0 else "soft"
    p_value = "" if row.p_value is None else f", p {short(row.p_value)}"
    ends = f"{signed(row.low)} – {signed(row.high)}{p_value}"
    return f'<span class="{mark}">{signed(row.value)}</span> <small>{ends}</small>'
