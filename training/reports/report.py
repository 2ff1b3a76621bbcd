"""``report.html``: one page without a script or a network, to be looked at rather than read.

Everything on it is of ``metrics.json``; whatever a log or a person may have named is escaped.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files

import msgspec
import numpy as np

from training.gate import Verdict
from training.judging.compare import Changes
from training.judging.figures import OURS, PLAIN, Row
from training.learning.drift import MOVED
from training.reports import chapters, pictures
from training.reports.findings import Findings
from training.reports.left_out import left_out
from training.reports.markup import figure, grid, interval, scrolled, titles
from training.reports.pictures import short

FEWEST = 20
"""A figure of fewer positives or pairs says nothing, and is not drawn."""
LEAST_PAIRS = 50
"""A part with fewer would come first by chance."""
SHAPED = 200
"""A reliability curve of fewer positives is folded away."""
WORST, MOST_MOVED, DRAWN, LOOKED_AT = 14, 14, 6, 8
METRICS = ("gauc", "ndcg5", PLAIN, "auc", "gauc_user", "logloss", "ece", "slope", "ratio")


def page(found: Findings, utc_offset_ms: int) -> bytes:
    """The report as UTF-8 HTML; moments are told in the local time of the offset."""
    style = files("training.reports").joinpath("report.css").read_text("utf-8")
    sections = (
        _head(found, utc_offset_ms),
        _systems(found),
        _reliability(found),
        _slices(found),
        chapters.cold(found),
        chapters.exposure(found),
        chapters.watch(found),
        chapters.retrieval(found),
        _importances(found),
        _drift(found),
        _changes(found.changes),
        left_out(found),
        _foot(found),
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Huozhao: bundle {escape(found.version)}</title><style>{style}</style></head>"
        f"<body><main>{''.join(sections)}</main></body></html>"
    ).encode()


def _head(found: Findings, utc_offset_ms: int) -> str:
    def at(moment_ms: int) -> str:
        zone = dt.timezone(dt.timedelta(milliseconds=utc_offset_ms))
        return dt.datetime.fromtimestamp(moment_ms / 1000, zone).strftime("%-d %B %Y, %H:%M")

    trained = found.trained
    if found.unjudged:
        judged = f"Nothing was judged: {found.unjudged}"
    else:
        counts = ", ".join(f"{count:,} {name}" for name, count in found.judged.items())
        judged = f"Judged on what came after, up to {at(found.until_ms)}: {counts}."
    lede = f"Trained on the log from {at(trained.since_ms)} to {at(trained.until_ms)}, seed {trained.seed}. {judged}"
    return (
        '<p class="eyebrow"><b>货找人</b> · Huozhao · report of a bundle</p>'
        f'<h1>Bundle <code>{escape(found.version)}</code></h1><p class="lede">{escape(lede)}</p>'
        f"{_verdict(found.verdict)}{chapters.summary(found)}{_tiles(found)}{_dropped(found.dropped)}{_cut(found.cut_ms)}"
    )


def _verdict(verdict: Verdict | None) -> str:
    if verdict is None:
        return ""
    if verdict.unjudged:
        mark, word = "open", "The gate could not judge it"
    else:
        mark, word = ("yes", "The gate lets it pass") if verdict.passed else ("no", "The gate holds it back")
    latency = [str(check) for check in verdict.checks if check.measure == "latency" and not check.worse]
    more = f'<p class="note">{escape(latency[0])}</p>' if latency else ""
    return f'<div class="verdict {mark}"><p><b>{word}</b>: {escape(verdict.reason)}.</p>{more}</div>'


def _tiles(found: Findings) -> str:
    wanted = (("complete", "gauc", "GAUC of complete"), ("value", "ndcg5", "NDCG@5 of the value"),
              ("complete", "slope", "calibration slope of complete"),
              ("complete", "ratio", "predicted by happened, complete"))  # fmt: skip
    ours = {
        (row.head, row.metric): row
        for _, metric, _ in wanted
        for row in _whole(found.rows, metric)
        if row.system == OURS
    }
    known = [
        (row, words) for head, metric, words in wanted if (row := ours.get((head, metric))) and np.isfinite(row.value)
    ]
    tiles = [(short(row.value), words, f"{short(row.low)} – {short(row.high)}, {row.rests_on}") for row, words in known]
    moved = sum(one.psi > MOVED for one in found.drift)
    if found.drift:
        tiles.append((str(moved), f"of {len(found.drift)} columns moved", f"index above {MOVED}"))
    cells = (
        f'<div class="tile"><b>{escape(value)}</b><span>{escape(words)}</span><span>{escape(under)}</span></div>'
        for value, words, under in tiles
    )
    return f'<div class="tiles">{"".join(cells)}</div>' if tiles else ""


def _dropped(dropped: dict[str, str]) -> str:
    lines = "".join(f"<li><b>{escape(head)}</b>: {escape(why)}</li>" for head, why in dropped.items())
    summary = f"<summary>Heads that were not trained: {len(dropped)}</summary>"
    return f'<details>{summary}<ul class="note">{lines}</ul></details>' if lines else ""


def _cut(cut_ms: dict[str, tuple[int, int]]) -> str:
    said = ", ".join(
        f"{escape(head)} {own / 3.6e6:.3g} h of {whole / 3.6e6:.3g}" for head, (own, whole) in cut_ms.items()
    )
    more = "what comes later does not count, and rates are of less than the whole window"
    return f'<p class="note">Windows cut to fit a short log: {said}; {more}.</p>' if said else ""


def _whole(rows: Iterable[Row], metric: str) -> list[Row]:
    return [row for row in rows if row.metric == metric and row.kind == row.slice == "all"]


def _enough(row: Row) -> bool:
    return row.positives >= FEWEST and (row.pairs >= FEWEST or row.metric not in ("gauc", "ndcg5", PLAIN, "gauc_user"))


def _systems(found: Findings) -> str:
    rows = [row for row in (*_whole(found.rows, "gauc"), *_whole(found.rows, "ndcg5")) if np.isfinite(row.value)]
    if not rows:
        return ""
    systems = [OURS, *dict.fromkeys(row.system for row in rows if row.system != OURS)]
    figures = []
    for metric, head in dict.fromkeys((row.metric, row.head) for row in rows):
        of = [row for row in rows if (row.metric, row.head) == (metric, head)]
        if not _enough(of[0]):
            continue
        name, middle = ("GAUC", 0.5) if metric == "gauc" else ("NDCG@5", None)
        drawn = pictures.forest(of, [name for name in systems if name in {row.system for row in of}], middle)
        counts = f"{of[0].pairs:,} pairs in {of[0].slates:,} slates, {of[0].positives:,} positives"
        figures.append(figure(head, name, drawn, counts))
    return (
        "<h2>Beside the others</h2><p>The share of positive–negative pairs of a page in the right order; the rule is "
        "chance. The last is by gain. A whisker is the 95 % interval when people are drawn again: two that overlap may "
        f"still differ, since all are judged on the same pages.</p>{grid(figures)}{chapters.standings(found)}"
        + _table(found.rows, systems)
    )


def _table(rows: Sequence[Row], systems: Sequence[str]) -> str:
    whole = {(row.metric, row.head, row.system): row for row in rows if row.kind == row.slice == "all"}
    names = [(metric, head) for metric in METRICS for head in dict.fromkeys(h for m, h, _ in whole if m == metric)]
    columns = titles("metric", "head", "positives", "pairs", "rows", *systems)
    lines = []
    for metric, head in names:
        found = [whole.get((metric, head, system)) for system in systems]
        first = next(row for row in found if row is not None)
        cells = "".join(f"<td>{interval(row)}</td>" for row in found)
        lines.append(
            f'<tr><td>{escape(metric)}</td><td class="name">{escape(head)}</td><td>{first.positives:,}</td>'
            f"<td>{first.pairs:,}</td><td>{f'{first.rows:,}' if first.rows else ''}</td>{cells}</tr>"
        )
    return f"<details><summary>All figures as a table</summary>{scrolled(columns, lines)}</details>"


def _reliability(found: Findings) -> str:
    sloped = [row for row in found.rows if row.metric == "slope" and row.system == OURS and row.slice == "all"]
    slopes = {(row.head, row.kind): row for row in sloped}
    drawn: tuple[list[str], list[str]] = ([], [])
    for curve in found.reliability:
        slope = slopes.get((curve.head, curve.kind))
        rows, positives = (sum(getattr(point, name) for point in curve.points) for name in ("rows", "positives"))
        words = f"slope {_words(slope)}; {positives:,} of {rows:,}" if slope else f"{positives:,} of {rows:,}"
        kind = "" if curve.kind == "all" else curve.kind
        picture = figure(curve.head, kind, pictures.reliability(curve), words)
        drawn[positives < SHAPED].append(picture)
    if not any(drawn):
        return ""
    summary = f"<summary>Of fewer than {SHAPED} positives, where noise draws the curve: {len(drawn[1])}</summary>"
    rest = f"<details>{summary}{grid(drawn[1])}</details>" if drawn[1] else ""
    return (
        "<h2>Do the probabilities hold?</h2><p>Tenths of the impressions by predicted probability (across), and how "
        "often it happened (up). On the diagonal a prediction means what it says. A slope below 1 is overconfident.</p>"
        f"{grid(drawn[0])}{rest}{chapters.held(found)}"
    )


def _words(row: Row) -> str:
    return f"{short(row.value)} [{short(row.low)}, {short(row.high)}]" if np.isfinite(row.value) else "not defined"


def _slices(found: Findings) -> str:
    wholes = {row.head: row for row in _whole(found.rows, "gauc") if row.system == OURS}
    ratios = {(row.head, _as_part(row).slice): row for row in found.rows if row.metric == "ratio"}
    kinds = {row.kind for row in found.rows} - {"all"}
    ours = [row for row in found.rows if row.metric == "gauc" and row.system == OURS]
    parts = [_as_part(row) for row in ours if row.slice != "all" or (row.kind != "all" and len(kinds) > 1)]
    parts = [row for row in parts if row.head in wholes and np.isfinite(row.value) and _enough(row)]
    parts = [row for row in parts if row.pairs >= LEAST_PAIRS]
    if not parts:
        return ""
    parts = sorted(parts, key=lambda row: (row.value - wholes[row.head].value, row.head, row.slice))[:WORST]
    low = min([0.5, *(row.low for row in parts if np.isfinite(row.low))])
    high = max([0.5, *(row.high for row in parts if np.isfinite(row.high))])
    columns = titles("part", "head", "positives", "pairs", "GAUC", "", "to all", "predicted / happened")
    lines = []
    for row in parts:
        gap, held = row.value - wholes[row.head].value, ratios.get((row.head, row.slice))
        mark = "worse" if row.high < wholes[row.head].value else ""
        lines.append(
            f'<tr><td>{escape(row.slice)}</td><td class="name">{escape(row.head)}</td><td>{row.positives:,}</td>'
            f"<td>{row.pairs:,}</td><td>{short(row.value)}</td>"
            f"<td>{pictures.interval(row, low, high, wholes[row.head].value)}</td>"
            f'<td class="{mark}">{gap:+.3f}</td><td>{interval(held)}</td></tr>'
        )
    return (
        "<h2>Where it is weakest</h2><p>Parts of the impressions, worst first, beside the whole (the rule). Red where "
        f"the whole interval lies below it; of many parts a few do so by chance.</p>{scrolled(columns, lines)}"
    )


def _as_part(row: Row) -> Row:
    """A row of a kind as of a slice."""
    return row if row.kind == "all" else msgspec.structs.replace(row, kind="all", slice=f"kind={row.kind}")


def _importances(found: Findings) -> str:
    figures = []
    for head, shares in found.importances.items():
        largest = list(shares.items())[:LOOKED_AT]
        if largest:
            rest = f"{len(shares)} of {len(found.columns)} columns are split on"
            figures.append(figure(head, "", pictures.bars(largest, largest[0][1]), rest))
    if not figures:
        return ""
    return (
        "<h2>What each head looks at</h2><p>The share of each column in the loss that a head's splits take away. "
        f"Columns that say the same share it between them.</p>{grid(figures)}"
    )


def _drift(found: Findings) -> str:
    if not found.drift:
        return ""
    drawn = [figure(one.name, "", pictures.histogram(one), f"index {short(one.psi)}") for one in found.drift[:DRAWN]]
    return (
        "<h2>What has moved</h2><p>How far each column lies from where it lay in training: the population stability "
        "index, still below .1, moved above .25. Counters of a log that has just begun move by growing.</p>"
        f'<div class="scroll"><div class="drift">{pictures.psi_bars(found.drift[:MOST_MOVED])}</div></div>'
        '<p class="note key"><span><i class="t"></i>in training</span><span><i class="n"></i>as judged</span> '
        f"tenths of the training rows; the last bar has no value</p>{grid(drawn)}"
    )


def _changes(changes: Changes | None) -> str:
    if changes is None:
        return ""
    named = (("heads added", changes.heads_added), ("heads gone", changes.heads_gone),
             ("columns added", changes.columns_added), ("columns gone", changes.columns_gone))  # fmt: skip
    paired = (("weight", changes.weights), ("trees", changes.trees),
              ("window, h", {k: (a / 3.6e6, b / 3.6e6) for k, (a, b) in changes.windows_ms.items()}))  # fmt: skip
    said = [f"<li>{what}: {escape(', '.join(names))}</li>" for what, names in named if names]
    said += [f"<li>{what} of {escape(head)}: {a:g} → {b:g}</li>" for what, by in paired for head, (a, b) in by.items()]
    lines = []
    for one in changes.figures:
        before, after = (float("nan") if each is None else each for each in (one.before, one.after))
        by = f"{after - before:+.4f}" if np.isfinite(after - before) else "–"
        lines.append(
            f'<tr><td>{escape(one.metric)}</td><td class="name">{escape(one.head)}</td>'
            f"<td>{short(before, 4)}</td><td>{escape(one.before_on)}</td>"
            f"<td>{short(after, 4)}</td><td>{escape(one.after_on)}</td><td>{by}</td></tr>"
        )
    columns = titles("metric", "head", "before", "of", "now", "of", "by")
    return (
        f"<h2>Since bundle <code>{escape(changes.before)}</code></h2><p>Each bundle's figures are of its own stretch; "
        f"the gate compares both on one.</p><ul>{''.join(said) or '<li>the same heads, columns and weights</li>'}</ul>"
        f"<details><summary>Figures of both</summary>{scrolled(columns, lines)}</details>"
    )


def _foot(found: Findings) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in found.packages.items())
    return (
        "<footer><p>All figures with counts and intervals are in <code>metrics.json</code> beside this page. Those of "
        f"fewer than {FEWEST} positives or pairs are not drawn.</p><p>{escape(packages)}</p></footer>"
    )
