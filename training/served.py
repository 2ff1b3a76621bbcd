"""Whether what is served still holds: predictions since a promotion beside what happened, and beside the report.

Per head, the ratio of what was predicted by what happened, ``Σp / Σy``, of pages that the bundle ordered, predicted
again by replay. Those of the last ``DAYS`` days are read; what came before is folded, from the last snapshot before
them. It has drifted from the report's ratio when their logarithms differ by more than chance (a normal test with people
drawn again, both spreads counted, Bonferroni over heads) and by more than a tenth, which is what matters.
"""

import math
from pathlib import Path

import msgspec
import numpy as np
from scipy.stats import norm

from features import snapshot
from features.errors import TrainingError
from features.layout import Layout
from features.logs.live import HomeLog
from features.logs.log import DAY_MS
from features.replay import Progress as Part
from features.state import FeatureState
from ranking.bundles.bundle import Bundle
from training.gate import LEVEL
from training.judging.bootstrap import Bootstrap
from training.judging.ratios import ratio_of
from training.judging.stretch import Read, Stretch
from training.reports.findings import Findings

LEAST_POSITIVES = 50
LEAST_RATIO = 1.1
DAYS = 7
"""How far back from the log's end pages are looked at: a week has every kind of day in it."""
PAGE_MS = 3_600_000
"""No page is shown for longer: what began before the stretch does not reach into it from farther away."""
RECENT = 50_000
"""So many of the last impressions are read: enough to tell a tenth, for heads that are not rare."""


class Held(msgspec.Struct, frozen=True):
    """A head as served: predicted by happened with its interval, and the report's ratio (1 if it has none)."""

    head: str
    ratio: float
    low: float
    high: float
    reported: float
    positives: int
    drifted: bool


def served(
    log: HomeLog, bundle: Bundle, promoted_ms: int, findings: Findings | None, states: Path, progress: Part
) -> tuple[Held, ...]:
    """How each head's predictions held in pages since a promotion, of the last ``DAYS`` days.

    ``states`` holds the home's snapshots. Pages that another bundle ordered do not count. Where the log names no pages
    or bundles, all do. A head with fewer than 50 positives is left out, and all are where nothing was shown yet.
    """
    since_ms = max(promoted_ms, _ended_ms(log) - DAYS * DAY_MS)
    before = _state(log, log.since(max(since_ms - PAGE_MS, 0)), bundle.feature_set.layout, states)
    try:
        stretch = Stretch.read(log, since_ms, before=before)
    except TrainingError:
        return ()
    history = stretch.history
    requests = history.events.request[stretch.event]
    pages = {code: history.served.get(history.requests[code]) for code in np.unique(requests).tolist()}
    own = {code for code, page in pages.items() if page is None or page.bundle in ("", bundle.version)}
    marked = np.isin(requests, sorted(own))
    marked &= np.arange(len(marked)) >= len(marked) - RECENT
    if not marked.any():
        return ()
    read = Read.of(bundle, stretch.only(marked), progress, before)
    enough = [h for h in bundle.heads if read.labels.of(h)[read.mature(h)].sum() >= LEAST_POSITIVES]
    quantile = float(norm.ppf(1 - (1 - LEVEL) / 2 / max(len(enough), 1)))
    return tuple(_held(read, head, quantile, findings) for head in enough)


def _ended_ms(log: HomeLog) -> int:
    """When the last record was received."""
    end = log.end()
    return max((batch["received_ms"][-1].as_py() for batch in log.read(end - 1)), default=0)


def _state(log: HomeLog, first: int, layout: Layout, states: Path) -> FeatureState:
    """What the log held before an offset: folded from the last snapshot before it, or from the beginning."""
    state = snapshot.nearest(layout, states, first, log.user_ids) or FeatureState(layout)
    for batch in log.read(state.offset, first):
        state.fold(batch)
    return state


def _held(read: Read, head: str, quantile: float, findings: Findings | None) -> Held:
    sums = ratio_of(read, head, read.mature(head))
    draws = sums.draws(Bootstrap(seed=read.bundle.trained.seed))
    spread = float(np.std(np.log(draws[draws > 0]), ddof=1)) if (draws > 0).sum() > 1 else math.inf
    reported, doubt = _reported(findings, head)
    far = abs(math.log(sums.value / reported)) if sums.value > 0 else math.inf
    drifted = far > quantile * math.hypot(spread, doubt) and far > math.log(LEAST_RATIO)
    low, high = (sums.value * math.exp(sign * quantile * spread) for sign in (-1, 1))
    return Held(head, sums.value, low, high, reported, sums.positives, drifted)


def _reported(findings: Findings | None, head: str) -> tuple[float, float]:
    """The report's ratio and the standard error of its logarithm."""
    for row in findings.rows if findings else ():
        if (row.metric, row.head, row.kind, row.slice) == ("ratio", head, "all", "all") and row.value > 0:
            known = row.low > 0 and math.isfinite(row.high)
            return row.value, math.log(row.high / row.low) / (2 * float(norm.ppf((1 + LEVEL) / 2))) if known else 0.0
    return 1.0, 0.0
