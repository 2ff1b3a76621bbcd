"""What is known of a bundle beside itself, as ``metrics.json`` holds it and the report shows it."""

from collections.abc import Iterator, Sequence

import lightgbm as lgb
import msgspec
import numpy as np

from features.errors import BundleError
from features.types import BoolArray
from ranking.bundles.bundle import Bundle, Trained
from training.gate import Check, Verdict
from training.judging.bootstrap import Bootstrap, Sums, ratio
from training.judging.compare import Changes
from training.judging.figures import Row, undefined
from training.judging.ratios import kinds_of, ratio_rows
from training.judging.stretch import Read
from training.learning.drift import Drift, Reference, drift_of
from training.learning.labels import cut_of

FORMAT = 1
CURVE_BINS = 10
LEAST_POSITIVES = 20
"""A head and kind with fewer has no reliability curve."""


class Point(msgspec.Struct, frozen=True):
    """A bin of rows alike in probability: the mean predicted, the share that happened with its interval, and counts."""

    predicted: float
    happened: float
    low: float
    high: float
    rows: int
    positives: int


class Curve(msgspec.Struct, frozen=True):
    """The reliability of a head on a kind of item ("all" for all), over bins of equal mass."""

    head: str
    kind: str
    points: tuple[Point, ...]


class Findings(msgspec.Struct, frozen=True):
    """All that was found of a bundle.

    ``unjudged`` says why nothing was judged, and is "" where something was; ``judged`` counts impressions, slates and
    people of the stretch. ``retrieval`` is what sources find, where it was asked for. ``importances`` are shares of the
    gain of a head's splits, by column, the largest first. ``cut_ms`` are windows that a short log has cut: what they
    are and should be, by head.
    """

    format: int
    version: str
    trained: Trained
    packages: dict[str, str]
    columns: tuple[str, ...]
    heads: tuple[str, ...]
    dropped: dict[str, str]
    since_ms: int
    until_ms: int
    judged: dict[str, int]
    unjudged: str
    rows: tuple[Row, ...]
    reliability: tuple[Curve, ...]
    importances: dict[str, dict[str, float]]
    drift: tuple[Drift, ...]
    verdict: Verdict | None = None
    changes: Changes | None = None
    retrieval: tuple[Row, ...] = ()
    cut_ms: dict[str, tuple[int, int]] = {}


def find(
    bundle: Bundle,
    packages: dict[str, str],
    read: Read | None,
    *,
    rows: Sequence[Row] = (),
    reference: Reference | None = None,
    dropped: dict[str, str] | None = None,
    unjudged: str = "",
    boot: Bootstrap | None = None,
) -> Findings:
    """Gather all that is found of a bundle on a stretch that it read, None where there was none to read.

    Parameters
    ----------
    rows : sequence of Row
        What ``training.judging.evaluate.evaluate`` says of the same stretch.
    reference : Reference, optional
        How the columns lay in training; no drift is told without.
    """
    boot = boot or Bootstrap(seed=bundle.trained.seed)
    stretch = read.stretch if read else None
    everyone = stretch.rows(np.ones(int(stretch.keep.sum()), np.bool_)) if stretch else None
    return Findings(
        format=FORMAT,
        version=bundle.version,
        trained=bundle.trained,
        packages=packages,
        columns=tuple(bundle.feature_set.names),
        heads=tuple(bundle.heads),
        dropped=dropped or {},
        since_ms=stretch.since_ms if stretch else 0,
        until_ms=stretch.until_ms if stretch else 0,
        judged={"impressions": len(everyone), "slates": everyone.slates, "people": everyone.users} if everyone else {},
        unjudged=unjudged,
        rows=(*rows, *ratio_rows(read, boot)) if read else tuple(rows),
        reliability=tuple(_curves(read, boot)) if read else (),
        importances=importances(bundle),
        cut_ms=cut_of({head: known.window_ms for head, known in bundle.heads.items()}),
        drift=drift_of(reference, read.features, bundle.feature_set) if read and reference else (),
    )


def importances(bundle: Bundle) -> dict[str, dict[str, float]]:
    """The share of each column in the gain of each head's splits, the largest first; columns without a split left out.

    Gain is LightGBM's: the loss taken away by the splits on a column.
    """
    found = {}
    for head, text in bundle.models.items():
        gains = np.asarray(lgb.Booster(model_str=text).feature_importance("gain"), np.float64)
        total = gains.sum() or 1.0
        order = np.argsort(-gains, kind="stable")
        found[head] = {bundle.feature_set.names[j]: float(gains[j] / total) for j in order.tolist() if gains[j] > 0}
    return found


def _curves(read: Read, boot: Bootstrap) -> Iterator[Curve]:
    for head in read.bundle.heads:
        for kind, of_kind in kinds_of(read):
            chosen = of_kind & read.mature(head)
            if read.labels.of(head)[chosen].sum() >= LEAST_POSITIVES:
                yield Curve(head, kind, tuple(_points(read, head, chosen, boot)))


def _points(read: Read, head: str, chosen: BoolArray, boot: Bootstrap) -> Iterator[Point]:
    """Bins of equal mass, rows of one probability together."""
    rows, y = read.stretch.rows(chosen), read.labels.of(head)[chosen].astype(np.float64)
    p = read.probabilities[chosen, read.column(head)]
    _, level, count = np.unique(p, return_inverse=True, return_counts=True)
    place = ((np.cumsum(count) - count / 2) * CURVE_BINS / len(p)).astype(np.int64)[level]
    for number in np.unique(place).tolist():
        inside = place == number
        user = rows.user_code[inside]
        sums = [np.bincount(user, each, rows.users).astype(np.float64) for each in (y[inside], np.ones(len(user)))]
        figure = Sums("rate", np.stack(sums, axis=1), ratio, int(y[inside].sum()), 0, 0).figure(boot)
        low, high = (figure.low, figure.high) if np.isfinite(figure.low) else (figure.value, figure.value)
        yield Point(float(p[inside].mean()), figure.value, low, high, int(inside.sum()), figure.positives)


def to_json(findings: Findings) -> bytes:
    """The findings as ``metrics.json``; what is not defined is null."""
    return msgspec.json.format(msgspec.json.encode(findings), indent=1)


def from_json(text: bytes, of: str) -> Findings:
    """The findings that ``to_json`` wrote.

    Raises
    ------
    BundleError
        If they are not of this form; ``of`` names whose they are.
    """
    try:
        raw = msgspec.json.decode(text)
        for name in {"rows", "retrieval"} & {*raw}:
            raw[name] = [undefined(row) for row in raw[name]]
        if raw.get("verdict") is not None:
            raw["verdict"]["checks"] = [Check.read(check) for check in raw["verdict"].get("checks", ())]
        return msgspec.convert(raw, Findings)
    except (msgspec.MsgspecError, AttributeError, KeyError, TypeError) as error:
        raise BundleError(f"metrics.json of {of} cannot be read: {error}.", "See `huozhao report --again`.") from error
