"""Judge a bundle as served: features of each slate's moment, on days it was not trained on, beside baselines."""

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import numpy as np

from features.errors import TrainingError
from features.history import read_history, slates_of
from features.log import EventLog
from features.outcomes import KIND_NAMES
from features.reader import Reader
from features.replay import Readers, replay
from features.schema import FeatureSet
from features.types import BoolArray, DoubleArray, IntArray
from ranking.bundle import Bundle
from ranking.value import gain
from training import metrics
from training.baselines import Scores, by_chance, is_static, judged, latest, needed, popularity, static
from training.bootstrap import Bootstrap, Difference, Figure, Rows
from training.examples import known_until, slices_of
from training.labels import Labels, label
from training.progress import Progress, quiet, staged

OURS = "huozhao"
COMPARED = ("popularity", "static")
ORDERED = (metrics.auc, metrics.gauc, metrics.gauc_user)
HELD = (metrics.logloss, metrics.ece, metrics.calibration_slope)


class Row(msgspec.Struct, frozen=True, omit_defaults=True):
    """One figure. NaN (null as JSON) where it is not defined; the counts say why, as in ``training.metrics.Figure``.

    ``head`` is "value" for figures of the whole value by gain. ``p_value`` is of differences alone.
    """

    system: str
    head: str
    kind: str
    slice: str
    metric: str
    value: float
    low: float
    high: float
    positives: int
    slates: int
    pairs: int
    p_value: float | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """Rows to judge on: who they belong to, their labels and gain, and the systems' scores; (n,) each.

    ``mature`` (n, heads) says which heads a row counts for; it counts for the gain if it does for all.
    """

    user: IntArray
    slate: IntArray
    labels: Labels
    mature: BoolArray
    gain: DoubleArray
    systems: dict[str, Scores]


def to_json(rows: list[Row]) -> bytes:
    """The rows as ``{"rows": [...]}``."""
    return msgspec.json.encode({"rows": rows})


def evaluate(
    log: EventLog,
    bundle: Bundle,
    *,
    since_ms: int | None = None,
    until_ms: int | None = None,
    baselines: bool = False,
    resamples: int = 200,
    progress: Progress = quiet,
) -> list[Row]:
    """Judge a bundle on the slates that began from ``since_ms`` to before ``until_ms``.

    Records go on being folded as in serving; nothing is fitted anew. An impression counts for a head only if the
    head's window closed before ``until_ms``.

    Parameters
    ----------
    since_ms : int, optional
        Default: where the bundle's training ended.
    until_ms : int, optional
        Default, and at most: the log's end.
    baselines : bool
        Judge ``random``, ``popularity``, ``latest`` and ``static`` on the same rows, and how far ours is from two.
    resamples : int
        Bootstrap draws of users for every interval.

    Raises
    ------
    TrainingError
        If the stretch holds no slate, or begins before the bundle's training ended.
    """
    on = judge(log, bundle, since_ms=since_ms, until_ms=until_ms, baselines=baselines, progress=progress)
    return list(rows_of(on, Bootstrap(resamples, bundle.trained.seed), progress))


def judge(
    log: EventLog,
    bundle: Bundle,
    *,
    since_ms: int | None = None,
    before_ms: int | None = None,
    until_ms: int | None = None,
    baselines: bool = False,
    progress: Progress = quiet,
) -> Judged:
    """What ``evaluate`` draws its figures from, of slates that began before ``before_ms``, too (default: any)."""
    since_ms = bundle.trained.until_ms if since_ms is None else since_ms
    if since_ms < bundle.trained.until_ms:
        raise TrainingError("The stretch to judge on begins before training ended.", "Choose a later --since.")
    progress("reading the log", 0, 1)
    history = read_history(log, until_ms)
    until_ms = known_until(log, history, until_ms)
    slates = slates_of(history)
    labels = label(history, slates, {head: bundle.heads[head].window_ms for head in bundle.heads})
    progress("reading the log", 1, 1)
    test = (labels.begins >= since_ms) & (labels.begins < (until_ms if before_ms is None else before_ms))
    if not test.any():
        raise TrainingError("No slate began in the stretch to judge on.", "Choose another --since or --until.")
    learned = (labels.begins >= bundle.trained.since_ms) & (labels.begins < bundle.trained.until_ms)
    keep = test | learned if baselines else test
    wide, width = _columns(bundle, baselines=baselines), len(bundle.feature_set.columns)
    readers = Readers.always(Reader(wide, bundle.codes, bundle.factors))
    features = replay(log, history, slates, readers, keep, staged(progress, "reading features"))
    labels, of_test = labels.take(keep), test[keep]
    kinds, judged_on = labels.kind[of_test], np.ascontiguousarray(features[of_test])
    systems = {OURS: judged(bundle, np.ascontiguousarray(judged_on[:, :width]), kinds)}
    if baselines:
        systems["random"] = by_chance(bundle, len(kinds), bundle.trained.seed)
        systems["popularity"] = popularity(bundle, judged_on, wide, kinds)
        systems["latest"] = latest(bundle, judged_on, wide)
        if any(is_static(column) for column in bundle.feature_set.columns):
            slices = slices_of(history, bundle.trained.since_ms, bundle.trained.until_ms)
            stage = staged(progress, "fitting the static baseline")
            systems["static"] = static(bundle, features[:, :width], labels, slices, of_test, stage)
    shown, labels = slates.event[keep][of_test], labels.take(of_test)
    heads = tuple(bundle.heads)
    got = gain(labels.y.astype(np.float64), heads, kinds, bundle.scales_of(heads), bundle.weights)
    user, slate = history.events.user[shown].astype(np.int64), slates.slate[keep][of_test]
    mature = np.stack([labels.mature(head, until_ms) for head in heads], axis=1)
    return Judged(user, slate, labels, mature, got, systems)


def _columns(bundle: Bundle, *, baselines: bool) -> FeatureSet:
    """The bundle's columns, then those that baselines read beside them."""
    ours = bundle.feature_set
    extra = needed(tuple(bundle.heads), ours.columns) if baselines else ()
    return FeatureSet(ours.columns + extra, ours.utc_offset_ms)


def rows_of(on: Judged, boot: Bootstrap, progress: Progress) -> Iterator[Row]:
    """The figures of all heads and of the value, for all kinds and for each."""
    heads = tuple(on.labels.windows_ms)
    kinds = [("all", np.ones(len(on.user), np.bool_))]
    kinds += [(KIND_NAMES[code], on.labels.kind == code) for code in np.unique(on.labels.kind).tolist() if code]
    for column, head in enumerate(heads):
        progress("judging", column, len(heads))
        for kind, of_kind in kinds:
            yield from _head_rows(on, head, column, kind, of_kind & on.mature[:, column], boot)
    for kind, of_kind in kinds:
        yield from _value_rows(on, kind, of_kind & on.mature.all(axis=1), boot)
    progress("judging", len(heads), len(heads))


def _head_rows(on: Judged, head: str, column: int, kind: str, chosen: BoolArray, boot: Bootstrap) -> Iterator[Row]:
    rows, y = Rows(on.slate[chosen], on.user[chosen]), on.labels.of(head)[chosen]
    for system, scores in on.systems.items():
        score = scores.score[chosen, column]
        for ordered in ORDERED:
            yield _row(system, head, kind, ordered(rows, y, score, boot))
        if scores.probabilities is not None:
            p = scores.probabilities[chosen, column]
            for held in HELD:
                yield _row(system, head, kind, held(rows, y, p, boot))
    ours = on.systems[OURS].score[chosen, column]
    for other in COMPARED:
        if other in on.systems:
            theirs = on.systems[other].score[chosen, column]
            yield _difference(other, head, kind, metrics.paired_difference("gauc", rows, y, ours, theirs, boot))


def _value_rows(on: Judged, kind: str, chosen: BoolArray, boot: Bootstrap) -> Iterator[Row]:
    rows, got = Rows(on.slate[chosen], on.user[chosen]), on.gain[chosen]
    for system, scores in on.systems.items():
        yield _row(system, "value", kind, metrics.ndcg(rows, got, scores.value[chosen], boot))
    ours = on.systems[OURS].value[chosen]
    for other in COMPARED:
        if other in on.systems:
            theirs = on.systems[other].value[chosen]
            yield _difference(other, "value", kind, metrics.paired_difference("ndcg", rows, got, ours, theirs, boot))


def _row(system: str, head: str, kind: str, figure: Figure) -> Row:
    counts = (figure.positives, figure.slates, figure.pairs)
    return Row(system, head, kind, "all", figure.metric, figure.value, figure.low, figure.high, *counts)


def _difference(other: str, head: str, kind: str, found: Difference) -> Row:
    row = _row(OURS, head, kind, found)
    return msgspec.structs.replace(row, metric=f"{found.metric}_diff_vs_{other}", p_value=found.p_value)
