"""Judge training itself: every one of the last days by a bundle that learned from the days before it, pooled."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import numpy as np

from features.errors import TrainingError
from features.logs.log import DAY_MS, EventLog
from features.types import BoolArray
from training.baselines.systems import BASELINES
from training.baselines.task import Scores
from training.judging.bootstrap import Bootstrap
from training.judging.duration import duration_rows
from training.judging.evaluate import Judged, Row, judge, rows_of
from training.judging.kept import digest_of, get, put
from training.judging.watch import Watch
from training.learning.examples import last_day_ms
from training.learning.labels import Labels
from training.learning.pipeline import learn
from training.learning.recipe import Recipe
from training.progress import Progress, quiet


def rolling(
    log: EventLog,
    days: int,
    recipe: Recipe | None = None,
    *,
    resamples: int = 2_000,
    keep: Path | None = None,
    progress: Progress = quiet,
) -> list[Row]:
    """Judge the last days, each by a bundle that learned from all before it, beside baselines that did as well.

    The days are local. What was shown in one is judged together with what was shown in the others: pairs are of one
    slate and so of one day, users are drawn once for all days. No bundle is kept.

    Parameters
    ----------
    days : int
        How many, the log's last one included.
    recipe : Recipe, optional
        How each day's bundle is learned; ``until_ms`` is the day's beginning whatever it says.
    resamples : int
        Bootstrap draws of users; the least p-value there can be is 2 / (1 + resamples).
    keep : Path, optional
        A folder for days that are judged: a run that was stopped goes on from them. A day is judged anew when the log,
        the recipe or the code is another.

    Returns
    -------
    list of Row
        As of ``training.judging.evaluate.evaluate``, of the heads that all bundles have.

    Raises
    ------
    TrainingError
        If there are no days, or too little to learn from before the first of them.
    """
    if days < 1:
        raise TrainingError(f"There are no last {days} days.", "Judge one day or more; 3 are usual.")
    recipe = recipe or Recipe()
    last_ms = last_day_ms(log, recipe.utc_offset_ms)
    judged = []
    for back in reversed(range(days)):
        stage = _named(progress, f"day {days - back} of {days}")
        judged.append(_day(log, last_ms - back * DAY_MS, recipe, keep, stage))
    on, boot = pooled(judged), Bootstrap(resamples, recipe.seed)
    return [*rows_of(on, boot, progress), *duration_rows(on, boot)]


def _day(log: EventLog, start_ms: int, recipe: Recipe, keep: Path | None, progress: Progress) -> Judged:
    """One day, from the folder of days that are kept if it is there."""
    days = (start_ms, start_ms + DAY_MS)
    digest = digest_of(log.end(), days, recipe)
    path = keep / f"{start_ms}.npz" if keep else None
    if path and (held := get(path, digest)):
        progress("kept", 1, 1)
        return held
    bundle = learn(log, replace(recipe, until_ms=start_ms), progress=progress).bundle
    on = judge(log, bundle, before_ms=days[1], baselines=BASELINES, progress=progress)
    if path:
        put(path, digest, on)
    return on


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
        plain=np.concatenate([part.plain for part in parts]),
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
