"""Judge a bundle as served: features of each slate's moment, on days it was not trained on, beside baselines."""

from collections.abc import Collection, Mapping
from typing import NamedTuple

import numpy as np

from features.columns import Feature
from features.errors import TrainingError
from features.history import History, Slates, read_history, slates_of
from features.logs.log import EventLog
from features.reader import Reader
from features.replay import Progress as Part
from features.replay import Readers, replay
from features.schema import FeatureSet
from features.types import BoolArray, FloatArray
from ranking.bundles.bundle import Bundle
from ranking.value import gain, plain_gain
from training.baselines.systems import UNFITTED, needed, scored
from training.baselines.task import Scores, Task, judged
from training.judging.bootstrap import Bootstrap
from training.judging.cohorts import cohorts_of
from training.judging.duration import duration_rows
from training.judging.figures import OURS, Judged, Row, rows_of, to_json
from training.judging.stretch import Read
from training.judging.watch import HEAD, watch
from training.learning.examples import known_until, slices_of
from training.learning.factors import fit_by_day
from training.learning.labels import Labels, label
from training.progress import Progress, quiet, staged

__all__ = ["Judged", "Row", "beside", "evaluate", "evaluate_read", "judge", "rows_of", "to_json"]

RESAMPLES = 200
"""Bootstrap draws of users for an interval, where nobody asks for more."""


def evaluate(
    log: EventLog,
    bundle: Bundle,
    *,
    since_ms: int | None = None,
    until_ms: int | None = None,
    baselines: Collection[str] = (),
    others: Mapping[str, Scores] | None = None,
    resamples: int = RESAMPLES,
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
    baselines : collection of str
        Judge so many of ``baselines.BASELINES`` on the same rows, how far ours is from each, and the best of them by
        slice; ``BASELINES`` itself for all.
    others : mapping of str to Scores, optional
        Judge these systems, too, by what they say of the same rows and heads.
    resamples : int
        Bootstrap draws of users for every interval.

    Raises
    ------
    TrainingError
        If the stretch holds no slate, or begins before the bundle's training ended.
    """
    on = judge(log, bundle, since_ms=since_ms, until_ms=until_ms, baselines=baselines, others=others, progress=progress)
    return _figures(on, Bootstrap(resamples, bundle.trained.seed), progress)


def evaluate_read(
    read: Read, *, baselines: Collection[str], others: Mapping[str, Scores], progress: Progress = quiet
) -> list[Row]:
    """``evaluate`` on a stretch that the bundle has read already, ``beside`` its columns what the baselines need.

    What learns needs rows from before the stretch, and so another fold: then it is read anew.
    """
    bundle, stretch = read.bundle, read.stretch
    if _fits(baselines):
        return evaluate(stretch.log, bundle, baselines=baselines, others=others, progress=progress)
    on = _judged(_of_read(read), bundle, baselines, others, progress)
    return _figures(on, Bootstrap(RESAMPLES, bundle.trained.seed), progress)


def _figures(on: Judged, boot: Bootstrap, progress: Progress) -> list[Row]:
    return [*rows_of(on, boot, progress), *duration_rows(on, boot)]


def judge(
    log: EventLog,
    bundle: Bundle,
    *,
    since_ms: int | None = None,
    before_ms: int | None = None,
    until_ms: int | None = None,
    baselines: Collection[str] = (),
    others: Mapping[str, Scores] | None = None,
    progress: Progress = quiet,
) -> Judged:
    """What ``evaluate`` draws its figures from, of slates that began before ``before_ms``, too (default: any)."""
    since_ms = bundle.trained.until_ms if since_ms is None else since_ms
    if since_ms < bundle.trained.until_ms:
        raise TrainingError("The stretch to judge on begins before training ended.", "Choose a later --since.")
    on = _folded(log, bundle, since_ms, before_ms, until_ms, baselines, progress)
    return _judged(on, bundle, baselines, others or {}, progress)


def beside(bundle: Bundle, baselines: Collection[str]) -> tuple[Feature, ...]:
    """The columns that baselines read and the bundle does not have."""
    return needed(tuple(bundle.heads), bundle.feature_set.columns) if baselines else ()


class _Shown(NamedTuple):
    """Impressions with what was known of them: of those to judge, which ``test`` marks, and those learned from."""

    history: History
    slates: Slates
    labels: Labels
    features: FloatArray
    columns: FeatureSet
    test: BoolArray
    until_ms: int


def _folded(
    log: EventLog,
    bundle: Bundle,
    since_ms: int,
    before_ms: int | None,
    until_ms: int | None,
    baselines: Collection[str],
    progress: Progress,
) -> _Shown:
    progress("reading the log", 0, 1)
    history = read_history(log, until_ms)
    until_ms = known_until(log, history, until_ms)
    slates = slates_of(history)
    labels = label(history, slates, {head: bundle.heads[head].window_ms for head in bundle.heads})
    progress("reading the log", 1, 1)
    test = (labels.begins >= since_ms) & (labels.begins < (until_ms if before_ms is None else before_ms))
    if not test.any():
        way_out = "Choose another --since or --until, or judge a bundle whose training ended earlier."
        raise TrainingError("No slate began in the stretch to judge on.", way_out)
    learned = (labels.begins >= bundle.trained.since_ms) & (labels.begins < bundle.trained.until_ms)
    fits = _fits(baselines)
    keep = test | learned if fits else test
    ours = bundle.feature_set
    columns = FeatureSet(ours.columns + beside(bundle, baselines), ours.utc_offset_ms)
    readers = Readers.always(Reader(columns, bundle.codes, bundle.factors))
    if fits:
        readers = _readers_by_day(bundle, columns, history, slates.take(test), staged(progress, "fitting factors"))
    features = replay(log, history, slates, readers, keep, staged(progress, "reading features"))
    return _Shown(history, slates.take(keep), labels.take(keep), features, columns, test[keep], until_ms)


def _fits(baselines: Collection[str]) -> bool:
    return not {*baselines} <= {*UNFITTED}


def _of_read(read: Read) -> _Shown:
    stretch = read.stretch
    test = np.ones(len(read.labels.kind), np.bool_)
    slates = stretch.slates.take(stretch.keep)
    return _Shown(stretch.history, slates, read.labels, read.wide, read.columns, test, stretch.until_ms)


def _judged(
    on: _Shown, bundle: Bundle, baselines: Collection[str], others: Mapping[str, Scores], progress: Progress
) -> Judged:
    judged_on = np.ascontiguousarray(on.features[on.test][:, : len(bundle.feature_set.columns)])
    watches = None
    systems = {OURS: judged(bundle, judged_on, on.labels.kind[on.test])}
    if baselines:
        slices = slices_of(on.history, bundle.trained.since_ms, bundle.trained.until_ms)
        task = Task(bundle, on.history, on.slates, on.labels, slices, on.features, on.columns, on.test)
        systems |= scored(task, baselines, staged(progress, "fitting the baselines"))
        if _fits(baselines) and HEAD in bundle.heads:
            progress("fitting watch times", 0, 1)
            watches = watch(task)
    slates, labels = on.slates.take(on.test), on.labels.take(on.test)
    systems |= others
    heads = tuple(bundle.heads)
    outcomes = labels.y.astype(np.float64)
    got = gain(outcomes, heads, labels.kind, bundle.scales_of(heads), bundle.weights)
    plain = plain_gain(outcomes, heads, bundle.weights)
    mature = np.stack([labels.mature(head, on.until_ms) for head in heads], axis=1)
    user = on.history.events.user[slates.event].astype(np.int64)
    cohorts = cohorts_of(on.history, slates, labels.kind, bundle.trained.until_ms) if baselines else {}
    return Judged(user, slates.slate, labels, mature, got, plain, systems, cohorts, watches)


def _readers_by_day(bundle: Bundle, columns: FeatureSet, history: History, test: Slates, progress: Part) -> Readers:
    """What baselines learn from is read with the factors of its day, as it was for ours; the test with the bundle's."""
    trained, offset_ms = bundle.trained, bundle.feature_set.utc_offset_ms
    days = fit_by_day(history, trained.until_ms, offset_ms, trained.seed, progress)[:-1]
    from_test = int(test.read_offset.min())
    known = [(at, each) for start_ms, each in days if (at := history.offset_at(start_ms)) < from_test]
    since, factors = zip(*known, (from_test, bundle.factors), strict=True)
    return Readers(since, tuple(Reader(columns, bundle.codes, each) for each in factors))
