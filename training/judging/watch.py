"""Watch time, predicted: as a percentile within bins of duration, beside the plain regressions that it must beat.

The percentile is predicted and read back through the bin's own quantiles, so that a long video is not preferred for
being long [1]_. A play longer than its item (a loop, a pause left running) counts as the item's duration: what is
watched again is not more to watch. A watch whose window the log's end cuts off counts nowhere. An item without a
duration, room or product, is in the bin of its kind.

References
----------
.. [1] Zhan et al., "Deconfounding duration bias in watch-time prediction for video recommendation", KDD 2022.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import lightgbm as lgb
import numpy as np
from numba import njit

from features.outcomes import KIND_NAMES, VIDEO
from features.types import BoolArray, ByteArray, DoubleArray, IntArray
from training.baselines.task import Task, in_first_slot
from training.judging import metrics
from training.judging.bootstrap import Bootstrap, Figure, Rows, Sums, added, ratio
from training.judging.cohorts import durations_of
from training.learning.grower import PARAMETERS, PATIENCE, ROUNDS
from training.learning.heads import WORKERS
from training.learning.labels import watched_ms

BINS = 20
"""Of videos, of equal mass."""
HEAD = "complete"
"""The head whose window and slices a watch goes by."""
OURS = "watch_rank"
SPREAD = np.sqrt(12.0)
"""One over the standard deviation of a percentile."""


@dataclass(frozen=True, slots=True)
class Watch:
    """Watches of judged impressions, (n,) each, in ms, and what systems predict of them.

    ``percentile`` is what ``watch_rank`` predicts, in [0, 1].
    """

    watched_ms: DoubleArray
    percentile: DoubleArray
    predicted_ms: dict[str, DoubleArray]


@dataclass(frozen=True, slots=True)
class Bins:
    """The watches of a past by duration bin: ``edges`` between bins of videos, sorted watches of each bin."""

    edges: DoubleArray
    watches: dict[int, DoubleArray]

    @classmethod
    def of(cls, watched: DoubleArray, duration: DoubleArray, kind: ByteArray) -> "Bins":
        """Bins of equal mass of these rows."""
        timed = duration[(kind == VIDEO) & (duration > 0)]
        edges = np.unique(np.quantile(timed, np.arange(1, BINS) / BINS)) if len(timed) else np.zeros(0)
        bins = cls(edges, {})
        place = bins.place(duration, kind)
        return cls(edges, {at: np.sort(watched[place == at]) for at in np.unique(place).tolist()})

    def place(self, duration: DoubleArray, kind: ByteArray) -> IntArray:
        """The bin (n,) of each row: of its kind, and for videos of its duration."""
        timed = (kind == VIDEO) & (duration > 0)
        return np.where(timed, len(KIND_NAMES) + np.searchsorted(self.edges, duration, side="right"), kind)

    def percentile(self, watched: DoubleArray, place: IntArray) -> DoubleArray:
        """The share (n,) of the bin's watches that are shorter, equal ones by half; ½ in a bin without any."""
        out = np.full(len(watched), 0.5)
        for at, known in self.watches.items():
            rows = place == at
            below, upto = (np.searchsorted(known, watched[rows], side=side) for side in ("left", "right"))
            out[rows] = (below + upto) / (2 * len(known))
        return out

    def watch_at(self, percentile: DoubleArray, place: IntArray) -> DoubleArray:
        """The bin's empirical quantile (n,) at a percentile, the inverse of ``percentile``; 0 in a bin without any."""
        out = np.zeros(len(place))
        for at, known in self.watches.items():
            rows = place == at
            out[rows] = np.quantile(known, np.clip(percentile[rows], 0, 1), method="hazen")
        return out

    def mean(self, place: IntArray) -> DoubleArray:
        """The mean watch (n,) of each row's bin; 0 in a bin without any."""
        means = {at: float(known.mean()) for at, known in self.watches.items()}
        return np.array([means.get(at, 0.0) for at in place.tolist()])


def once_through(watched: IntArray, duration: DoubleArray) -> DoubleArray:
    """How much (n,) of an item was watched: a play is cut at the duration, where it has one."""
    return np.where(duration > 0, np.minimum(watched, duration), watched).astype(np.float64)


def watch(task: Task) -> Watch:
    """Fit on the slices ours is fitted on, by the same columns; predict the rows to score."""
    duration, kind = durations_of(task.history, task.slates), task.labels.kind
    watched = once_through(watched_ms(task.history, task.slates), duration)
    fit = task.slices.fit(task.labels, HEAD)
    bins = Bins.of(watched[fit], duration[fit], kind[fit])
    place = bins.place(duration, kind)
    targets = (bins.percentile(watched, place), watched / 1000, np.log1p(watched / 1000))
    with ThreadPoolExecutor(WORKERS) as pool:
        percentile, raw, log1p = pool.map(lambda target: _regression(task, target), targets)
    percentile, at = np.clip(percentile, 0, 1), place[task.test]
    return Watch(
        watched[task.test],
        percentile,
        {
            OURS: bins.watch_at(percentile, at),
            "watch_raw": np.maximum(raw * 1000, 0),
            "watch_log1p": np.maximum(np.expm1(log1p) * 1000, 0),
            "watch_mean": bins.mean(at),
        },
    )


def _regression(task: Task, target: DoubleArray) -> DoubleArray:
    """Least squares by trees; predictions of the rows to score, as if each stood in the first slot."""
    labels, slices, wide = task.labels, task.slices, task.features[:, : task.width]
    parts = [part(labels, HEAD) for part in (slices.train, slices.stop, slices.fit)]
    least = int(np.clip(parts[2].sum() // 300, 20, 200))
    params = PARAMETERS | {
        "objective": "regression", "metric": "l2", "min_data_in_leaf": least,
        "min_data_in_bin": 3, "seed": task.bundle.trained.seed,
    }  # fmt: skip
    train, stop, fit = (
        lgb.Dataset(
            wide[rows],
            target[rows],
            categorical_feature=list(task.bundle.feature_set.categorical),
            params={"verbosity": -1},
        )
        for rows in parts
    )
    stop.set_reference(train)
    found = lgb.train(params, train, ROUNDS, [stop], callbacks=[lgb.early_stopping(PATIENCE, verbose=False)])
    booster = lgb.train(params, fit, max(found.best_iteration, 1))
    alike = in_first_slot(wide[task.test], task.bundle.feature_set)
    return np.asarray(booster.predict(alike, num_threads=1), np.float64)


def xauc(rows: Rows, watched: DoubleArray, predicted: DoubleArray) -> Sums:
    """Pairs of one slate with different watches whose predictions stand in the same order, equal ones by half."""
    order = np.argsort(rows.slate_code, kind="stable")
    starts = np.searchsorted(rows.slate_code[order], np.arange(rows.slates + 1))
    won = _ordered(starts, watched[order], predicted[order])
    by_user = added(rows.user_of_slate, rows.users, *won.T)
    pairs = won[:, 1]
    return Sums("xauc", by_user, ratio, int((watched > 0).sum()), int((pairs > 0).sum()), int(pairs.sum()))


def mean_error(rows: Rows, watched: DoubleArray, predicted: DoubleArray) -> Sums:
    """Mean absolute error in seconds."""
    errors = np.abs(watched - predicted) / 1000
    by_user = added(rows.user_code, rows.users, errors, np.ones(len(rows)))
    return Sums("mae_s", by_user, ratio, int((watched > 0).sum()), rows.slates, 0)


def with_watch(value: DoubleArray, percentile: DoubleArray, weight: float) -> DoubleArray:
    """A value (n,) that counts the predicted percentile as a head: in units of its standard deviation."""
    more: DoubleArray = value + weight * SPREAD * (percentile - 0.5)
    return more


def watch_figures(rows: Rows, watches: Watch, chosen: BoolArray, boot: Bootstrap) -> Iterator[tuple[str, Figure]]:
    """XAUC and error of every system on chosen rows, and how far ``watch_rank`` is above the others in XAUC."""
    watched = watches.watched_ms[chosen]
    sums = {name: xauc(rows, watched, predicted[chosen]) for name, predicted in watches.predicted_ms.items()}
    for name, predicted in watches.predicted_ms.items():
        yield name, sums[name].figure(boot)
        yield name, mean_error(rows, watched, predicted[chosen]).figure(boot)
        if name != OURS:
            yield name, metrics.difference(sums[OURS], sums[name], boot)


@njit(nogil=True, cache=True)
def _ordered(starts: IntArray, watched: DoubleArray, predicted: DoubleArray) -> DoubleArray:
    """Concordant and all pairs (slates, 2) of rows whose watches differ."""
    won = np.zeros((len(starts) - 1, 2))
    for slate in range(len(starts) - 1):
        for i in range(starts[slate], starts[slate + 1]):
            for j in range(starts[slate], i):
                if watched[i] != watched[j]:
                    won[slate, 1] += 1
                    same = (watched[i] - watched[j]) * (predicted[i] - predicted[j])
                    won[slate, 0] += 1.0 if same > 0 else 0.5 if same == 0 else 0.0
    return won
