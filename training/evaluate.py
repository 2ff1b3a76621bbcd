"""Judge a bundle as served: features of each slate's moment, on days it was not trained on, beside baselines."""

from collections.abc import Collection, Mapping

import numpy as np

from features.errors import TrainingError
from features.history import History, Slates, read_history, slates_of
from features.log import EventLog
from features.reader import Reader
from features.replay import Progress as Part
from features.replay import Readers, replay
from features.schema import FeatureSet
from ranking.bundle import Bundle
from ranking.value import gain
from training.baselines import UNFITTED, needed, scored
from training.bootstrap import Bootstrap
from training.cohorts import cohorts_of
from training.duration import duration_rows
from training.examples import known_until, slices_of
from training.factors import fit_by_day
from training.figures import OURS, Judged, Row, rows_of, to_json
from training.labels import label
from training.progress import Progress, quiet, staged
from training.stretch import Read
from training.task import Task, judged
from training.watch import HEAD, watch

__all__ = ["Judged", "Row", "evaluate", "judge", "rows_of", "to_json"]


def evaluate(
    log: EventLog,
    bundle: Bundle,
    *,
    since_ms: int | None = None,
    until_ms: int | None = None,
    baselines: Collection[str] = (),
    others: Mapping[str, Read] | None = None,
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
    baselines : collection of str
        Judge so many of ``baselines.BASELINES`` on the same rows, how far ours is from each, and the best of them by
        slice; ``BASELINES`` itself for all.
    others : mapping of str to Read, optional
        Judge these bundles, too, as they read the same stretch: each by its own value. One without a head of ours is
        left out.
    resamples : int
        Bootstrap draws of users for every interval.

    Raises
    ------
    TrainingError
        If the stretch holds no slate, or begins before the bundle's training ended.
    """
    on = judge(log, bundle, since_ms=since_ms, until_ms=until_ms, baselines=baselines, others=others, progress=progress)
    boot = Bootstrap(resamples, bundle.trained.seed)
    return [*rows_of(on, boot, progress), *duration_rows(on, boot)]


def judge(
    log: EventLog,
    bundle: Bundle,
    *,
    since_ms: int | None = None,
    before_ms: int | None = None,
    until_ms: int | None = None,
    baselines: Collection[str] = (),
    others: Mapping[str, Read] | None = None,
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
    fits = not {*baselines} <= {*UNFITTED}
    keep = test | learned if fits else test
    wide = _columns(bundle, baselines)
    readers = Readers.always(Reader(wide, bundle.codes, bundle.factors))
    if fits:
        readers = _readers_by_day(bundle, wide, history, slates.take(test), staged(progress, "fitting factors"))
    features = replay(log, history, slates, readers, keep, staged(progress, "reading features"))
    slates, labels, of_test = slates.take(keep), labels.take(keep), test[keep]
    judged_on = np.ascontiguousarray(features[of_test][:, : len(bundle.feature_set.columns)])
    watches = None
    systems = {OURS: judged(bundle, judged_on, labels.kind[of_test])}
    if baselines:
        slices = slices_of(history, bundle.trained.since_ms, bundle.trained.until_ms)
        task = Task(bundle, history, slates, labels, slices, features, wide, of_test)
        systems |= scored(task, baselines, staged(progress, "fitting the baselines"))
        if fits and HEAD in bundle.heads:
            progress("fitting watch times", 0, 1)
            watches = watch(task)
    slates, labels = slates.take(of_test), labels.take(of_test)
    for name, other in (others or {}).items():
        if {*bundle.heads} <= {*other.bundle.heads}:
            systems[name] = other.scores(tuple(bundle.heads))
    heads = tuple(bundle.heads)
    got = gain(labels.y.astype(np.float64), heads, labels.kind, bundle.scales_of(heads), bundle.weights)
    mature = np.stack([labels.mature(head, until_ms) for head in heads], axis=1)
    user = history.events.user[slates.event].astype(np.int64)
    cohorts = cohorts_of(history, slates, labels.kind, bundle.trained.until_ms) if baselines else {}
    return Judged(user, slates.slate, labels, mature, got, systems, cohorts, watches)


def _columns(bundle: Bundle, baselines: Collection[str]) -> FeatureSet:
    """The bundle's columns, then those that baselines read beside them."""
    ours = bundle.feature_set
    extra = needed(tuple(bundle.heads), ours.columns) if baselines else ()
    return FeatureSet(ours.columns + extra, ours.utc_offset_ms)


def _readers_by_day(bundle: Bundle, columns: FeatureSet, history: History, test: Slates, progress: Part) -> Readers:
    """What baselines learn from is read with the factors of its day, as it was for ours; the test with the bundle's."""
    trained, offset_ms = bundle.trained, bundle.feature_set.utc_offset_ms
    days = fit_by_day(history, trained.until_ms, offset_ms, trained.seed, progress)[:-1]
    from_test = int(test.read_offset.min())
    known = [(at, each) for start_ms, each in days if (at := history.offset_at(start_ms)) < from_test]
    since, factors = zip(*known, (from_test, bundle.factors), strict=True)
    return Readers(since, tuple(Reader(columns, bundle.codes, each) for each in factors))
