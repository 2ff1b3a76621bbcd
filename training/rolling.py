"""Judge training itself: every one of the last days by a bundle that learned from the days before it, pooled."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

import numpy as np

from features.errors import TrainingError
from features.log import DAY_MS, EventLog
from features.schema import FeatureSet
from features.types import BoolArray
from training.baselines import BASELINES
from training.bootstrap import Bootstrap
from training.duration import duration_rows
from training.evaluate import Judged, Row, judge, rows_of
from training.examples import last_day_ms
from training.labels import Labels
from training.pipeline import UTC_OFFSET_MS, learn
from training.progress import Progress, quiet
from training.task import Scores
from training.watch import Watch


def rolling(
    log: EventLog,
    days: int,
    *,
    seed: int = 0,
    feature_set: FeatureSet | None = None,
    resamples: int = 2_000,
    progress: Progress = quiet,
) -> list[Row]:
    """Judge the last days, each by a bundle that learned from all before it, beside baselines that did as well.

    The days are local. What was shown in one is judged together with what was shown in the others: pairs are of one
    slate and so of one day, users are drawn once for all days. No bundle is kept.

    Parameters
    ----------
    days : int
        How many, the log's last one included.
    resamples : int
        Bootstrap draws of users; the least p-value there can be is 2 / (1 + resamples).

    Returns
    -------
    list of Row
        As of ``training.evaluate.evaluate``, of the heads that all bundles have.

    Raises
    ------
    TrainingError
        If there are no days, or too little to learn from before the first of them.
    """
    if days < 1:
        raise TrainingError(f"There are no last {days} days.", "Judge one day or more; 3 are usual.")
    last_ms = last_day_ms(log, feature_set.utc_offset_ms if feature_set else UTC_OFFSET_MS)
    judged = []
    for back in reversed(range(days)):
        start_ms = last_ms - back * DAY_MS
        stage = _named(progress, f"day {days - back} of {days}")
        bundle = learn(log, until_ms=start_ms, seed=seed, feature_set=feature_set, progress=stage).bundle
        judged.append(judge(log, bundle, before_ms=start_ms + DAY_MS, baselines=BASELINES, progress=stage))
    on, boot = pooled(judged), Bootstrap(resamples, seed)
    return [*rows_of(on, boot, progress), *duration_rows(on, boot)]


def _named(progress: Progress, name: str) -> Progress:
    return lambda stage, done, of: progress(f"{name}: {stage}", done, of)


def pooled(parts: Sequence[Judged]) -> Judged:
    """Rows of several fits as of one, of the heads and systems that all have; no slate is in two of them."""
    heads = [head for head in parts[0].labels.windows_ms if all(head in part.labels.windows_ms for part in parts)]
    parts = [_of_heads(part, heads) for part in parts]
    starts = accumulate((int(part.slate.max()) + 1 for part in parts[:-1]), initial=0)
    labels = [part.labels for part in parts]
    windows_ms = {head: max(each.windows_ms[head] for each in labels) for head in heads}
    names = [name for name in parts[0].systems if all(name in part.systems for part in parts)]
    return Judged(
        user=np.concatenate([part.user for part in parts]),
        slate=np.concatenate([part.slate + start for part, start in zip(parts, starts, strict=True)]),
        labels=Labels(
            np.concatenate([each.y for each in labels]),
            np.concatenate([each.kind for each in labels]),
            np.concatenate([each.begins for each in labels]),
            np.concatenate([each.ends for each in labels]),
            windows_ms,
        ),
        mature=np.concatenate([part.mature for part in parts]),
        gain=np.concatenate([part.gain for part in parts]),
        systems={name: _joined([part.systems[name] for part in parts]) for name in names},
        slices=_slices(parts),
        watch=_watches([part.watch for part in parts if part.watch is not None], len(parts)),
    )


def _slices(parts: Sequence[Judged]) -> dict[str, BoolArray]:
    """Slices by name; one that a part does not have holds none of its rows."""
    names = dict.fromkeys(name for part in parts for name in part.slices)
    none = [np.zeros(len(part.user), np.bool_) for part in parts]
    return {
        name: np.concatenate([part.slices.get(name, empty) for part, empty in zip(parts, none, strict=True)])
        for name in names
    }


def _watches(watches: Sequence[Watch], parts: int) -> Watch | None:
    """The predictions of all parts, if all have some."""
    if len(watches) < parts:
        return None
    return Watch(
        np.concatenate([each.watched_ms for each in watches]),
        np.concatenate([each.percentile for each in watches]),
        {name: np.concatenate([each.predicted_ms[name] for each in watches]) for name in watches[0].predicted_ms},
    )


def _of_heads(part: Judged, heads: Sequence[str]) -> Judged:
    """The same rows with fewer heads."""
    known, labels = part.labels.windows_ms, part.labels
    at = [list(known).index(head) for head in heads]
    systems = {
        name: replace(
            scores,
            score=scores.score[:, at],
            probabilities=None if scores.probabilities is None else scores.probabilities[:, at],
        )
        for name, scores in part.systems.items()
    }
    labels = replace(labels, y=labels.y[:, at], windows_ms={head: known[head] for head in heads})
    return replace(part, labels=labels, mature=part.mature[:, at], systems=systems)


def _joined(scores: Sequence[Scores]) -> Scores:
    probabilities = [each.probabilities for each in scores if each.probabilities is not None]
    return Scores(
        np.concatenate([each.score for each in scores]),
        np.concatenate([each.value for each in scores]),
        np.concatenate(probabilities) if len(probabilities) == len(scores) else None,
    )
