"""The gate: a new bundle is served only if it is not worse than the one that is, on slates that neither has seen.

Both are judged on the same slates with people drawn alike for both. "Worse" is beyond chance: the interval of the
difference, widened for the number of heads that are compared (Bonferroni), lies wholly on the wrong side of zero. So a
bundle as good as the current one is held back about once in forty times a measure. What too few outcomes judged is not
called as good: without a comparison of order on outcomes enough nothing was judged.
"""

from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import Any

import msgspec
import numpy as np
from scipy.stats import norm

from features.types import BoolArray, ByteArray, DoubleArray, FloatArray
from ranking.bundles.bundle import Bundle
from ranking.bundles.ranker import BundleRanker
from training.judging import metrics, reliability
from training.judging.bootstrap import Bootstrap, Rows, Sums
from training.judging.figures import undefined
from training.judging.stretch import Read

LEVEL = 0.95
FEWEST = 20
"""A head with fewer positives or pairs is not compared: its interval would be of a handful of people."""
ENOUGH = 100
"""The order of one head at least is compared on so many positives and pairs: fewer tell no order from chance."""
SLOWER, ALLOWED_S = 1.25, 0.010
"""A forest may take so much longer than the current one's, and any forest so many seconds for ``PAGE_ROWS``."""
PAGE_ROWS = 500
"""What is scored in full for a page: ``light.keep`` of the policy that comes with it."""
ROUNDS = 31


class Check(msgspec.Struct, frozen=True):
    """One comparison: ours beside the current bundle's.

    ``measure`` is gauc (higher is better; ``by`` is ours less theirs), calibration (error over bins of equal mass,
    lower is better; likewise), latency (seconds for as many rows as ``pairs`` says; ``by`` is ours through theirs) or
    head (the current bundle has it and ours has not). ``low`` and ``high`` are the interval of ``by``.
    """

    measure: str
    head: str
    ours: float
    theirs: float
    by: float
    low: float
    high: float
    positives: int
    pairs: int
    worse: bool

    @staticmethod
    def read(raw: dict[str, Any]) -> dict[str, Any]:
        """What JSON says of one, ready to be converted: null is NaN, as earlier versions wrote of one person."""
        return undefined(raw, ("ours", "theirs", "by", "low", "high"))

    def __str__(self) -> str:
        """The comparison as a sentence without its full stop."""
        match self.measure:
            case "head":
                return f"head {self.head} is lost"
            case "latency":
                took = f"latency: {1e3 * self.ours:.2f} ms for {self.pairs:,} rows beside {1e3 * self.theirs:.2f} ms"
                more = f"{self.by:.2f} times as long [{self.low:.2f}, {self.high:.2f}]"
                return f"{took}, {more}; {1e3 * ALLOWED_S:g} ms or {SLOWER} times as long is allowed"
            case _:
                gap = f"{self.by:+.4f} [{self.low:+.4f}, {self.high:+.4f}]"
                return f"{self.measure} of {self.head}: {self.ours:.4f} beside {self.theirs:.4f}, {gap}"


class Verdict(msgspec.Struct, frozen=True):
    """What the gate says of a bundle: it passes if nothing is worse and nothing kept it from being judged."""

    version: str
    against: str
    since_ms: int = 0
    until_ms: int = 0
    checks: tuple[Check, ...] = ()
    unjudged: str = ""

    @property
    def worse(self) -> tuple[Check, ...]:
        """What is worse beyond its interval."""
        return tuple(check for check in self.checks if check.worse)

    @property
    def passed(self) -> bool:
        """Whether the bundle may be promoted without force."""
        return not self.unjudged and not self.worse

    @property
    def reason(self) -> str:
        """Why it passed or did not, for people and for the file of promotions."""
        if self.unjudged or not self.against:
            return self.unjudged or "the first bundle"
        if self.worse:
            return "; ".join(map(str, self.worse))
        return f"nothing of {len(self.checks)} comparisons with {self.against} is worse beyond its interval"


def judge(ours: Read, theirs: Read, timer: Callable[[], float], boot: Bootstrap) -> Verdict:
    """Compare a bundle with the current one on the same stretch.

    It is unjudged where nothing is worse and no head's order was compared on ``ENOUGH`` positives and pairs: latency
    and probabilities alone would let anything pass that is quick and says the base rate.

    Parameters
    ----------
    ours, theirs : Read
        Of one ``Stretch``.
    timer : callable
        Seconds from any origin, as ``time.perf_counter``.
    boot : Bootstrap
        How people are drawn again.
    """
    new, old = ours.bundle, theirs.bundle
    lost = [
        Check("head", head, 0.0, 0.0, 0.0, 0.0, 0.0, 0, 0, worse=True) for head in old.heads if head not in new.heads
    ]
    both = [head for head in new.heads if head in old.heads]
    quantile = float(norm.ppf(1 - (1 - LEVEL) / 2 / max(len(both), 1)))
    compared = [check for head in both for check in _compared(ours, theirs, head, quantile, boot)]
    stretch = ours.stretch
    checks = (*lost, *compared, _latency(ours, theirs, timer))
    found = Verdict(new.version, old.version, stretch.since_ms, stretch.until_ms, checks)
    return found if found.worse else msgspec.structs.replace(found, unjudged=_too_few(compared))


def _too_few(compared: Sequence[Check]) -> str:
    """Why order was not judged, "" where it was."""
    ordered = [check for check in compared if check.measure == "gauc"]
    most = max(ordered, key=lambda check: min(check.positives, check.pairs), default=None)
    if most is not None and min(most.positives, most.pairs) >= ENOUGH:
        return ""
    least = f"{ENOUGH} positives and pairs"
    if most is None:
        return f"the order of no head can be compared: none has {FEWEST} positives and pairs of two people or more"
    counts = f"{most.positives:,} positives and {most.pairs:,} pairs of {most.head}"
    return f"too little came after the training to compare an order: at most {counts}, below {least}"


def _compared(ours: Read, theirs: Read, head: str, quantile: float, boot: Bootstrap) -> Iterator[Check]:
    chosen = ours.mature(head) & theirs.mature(head)
    rows = ours.stretch.rows(chosen)
    ordered = [_order(rows, read, head, chosen, ours.labels.of(head)) for read in (ours, theirs)]
    # Each bundle answers for its own window; the impressions are those for which both have closed.
    held = [_calibration(rows, read, head, chosen) for read in (ours, theirs)]
    for measure, (mine, other), sign in (("gauc", ordered, -1), ("calibration", held, 1)):
        least = min(mine.positives, mine.pairs) if measure == "gauc" else mine.positives
        by = mine.value - other.value
        if least < FEWEST or not np.isfinite(by):
            continue
        low, high = _around(by, mine.draws(boot) - other.draws(boot), quantile)
        if not np.isfinite(high - low):
            # Of one person there is no interval, and so no comparison.
            continue
        worse = bool(high < 0) if sign < 0 else bool(low > 0)
        yield Check(measure, head, mine.value, other.value, by, low, high, mine.positives, mine.pairs, worse=worse)


def _order(rows: Rows, read: Read, head: str, chosen: BoolArray, y: BoolArray) -> Sums:
    return metrics.concordant("gauc", rows, y[chosen], read.score[chosen, read.column(head)])


def _calibration(rows: Rows, read: Read, head: str, chosen: BoolArray) -> Sums:
    p = read.probabilities[chosen, read.column(head)]
    return reliability.calibration_error(rows, read.labels.of(head)[chosen], p)


def _around(value: float, draws: DoubleArray, quantile: float) -> tuple[float, float]:
    """The normal interval of a difference by the spread of its draws: far quantiles need no thousands of draws."""
    defined = draws[np.isfinite(draws)]
    spread = float(np.std(defined, ddof=1)) if len(defined) > 1 else float("nan")
    return value - quantile * spread, value + quantile * spread


def _latency(ours: Read, theirs: Read, timer: Callable[[], float]) -> Check:
    """How long each forest takes for what a page scores, in turns; the interval is of the middle half of rounds.

    The stretch's impressions from the first, over again where they are fewer: as many are timed of any stretch.
    """
    scorers = [(BundleRanker(read.bundle), *_page(read)) for read in (ours, theirs)]
    taken: list[list[float]] = [[], []]
    for number in range(ROUNDS + 1):
        for which in (0, 1) if number % 2 else (1, 0):
            ranker, features, kinds = scorers[which]
            begun = timer()
            ranker.probabilities(features, kinds)
            taken[which].append(timer() - begun)
    # The first round reads everything for the first time.
    mine, other = (each[1:] for each in taken)
    ratios = [a / b for a, b in zip(mine, other, strict=True) if b > 0] or [1.0]
    low, high = np.quantile(ratios, [0.25, 0.75]).tolist()
    worse = low > SLOWER and median(mine) > ALLOWED_S
    return Check("latency", "all", median(mine), median(other), median(ratios), low, high, 0, PAGE_ROWS, worse=worse)


def _page(read: Read) -> tuple[FloatArray, ByteArray]:
    places = np.arange(PAGE_ROWS) % len(read.features)
    return read.features[places], read.labels.kind[places]


def unjudged(new: Bundle, against: str, why: str) -> Verdict:
    """The verdict on a bundle that could not be judged beside the current one."""
    return Verdict(new.version, against, unjudged=why)
