"""What ours must beat, on the same rows: from chance and popularity to a list-wise model of the gain itself."""

from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from features.columns import Age, Column, Feature, Rate, is_static
from features.replay import Progress as Part
from features.schema import FeatureSet
from training.baselines.als import ImplicitFactors
from training.baselines.fm import factorisation_machine
from training.baselines.lambdamart import lambdamart
from training.baselines.neighbours import ItemNeighbours
from training.baselines.preferences import Affinity, Preferences, score_pairs
from training.baselines.task import Scores, Task, judged
from training.learning.heads import WORKERS, Table, fit_heads

POPULAR_HALF_LIFE = "7d"
LATEST: tuple[Feature, ...] = (Age("item.live_from_ms"), Age("item.started_ms"))
DURATION = Column("item.duration_ms")


@dataclass(frozen=True, slots=True)
class Baseline:
    """One system to compare with.

    Parameters
    ----------
    scores : callable
        From a task to its scores.
    fitted_on : str
        What it learns from. All of it was received before the training of ours ended.
    """

    scores: Callable[[Task], Scores]
    fitted_on: str


def scored(task: Task, names: Collection[str], progress: Part) -> dict[str, Scores]:
    """What baselines say of the task's rows, by name; ``static`` is left out where no column is static.

    They are fitted side by side, the dearest first; each is the same however many there are.
    """
    columns = task.bundle.feature_set.columns
    wanted = [name for name in BASELINES if name in names and (name != "static" or any(map(is_static, columns)))]
    systems = {}
    with ThreadPoolExecutor(WORKERS) as pool:
        fits = {name: pool.submit(BASELINES[name].scores, task) for name in reversed(wanted)}
        for done, name in enumerate(wanted):
            progress(done, len(wanted))
            systems[name] = fits[name].result()
    progress(len(wanted), len(wanted))
    return systems


def needed(heads: tuple[str, ...], columns: tuple[Feature, ...]) -> tuple[Feature, ...]:
    """The columns that baselines read and the bundle does not have."""
    wanted = (*(_popularity(head) for head in heads), *LATEST, DURATION)
    names = {column.name for column in columns}
    return tuple(column for column in wanted if column.name not in names)


def _popularity(head: str) -> Rate:
    return Rate("item", head, half_life=POPULAR_HALF_LIFE, prior=20)


def by_chance(task: Task) -> Scores:
    """An order drawn by lot."""
    return task.of_score(np.random.default_rng(task.bundle.trained.seed).random(int(task.test.sum())))


def constant(task: Task) -> Scores:
    """The head's base rate of the item's kind, whatever the item: what probabilities must at least be better than."""
    rates = task.bundle.base_rates_of(task.heads)[:, task.labels.kind[task.test]].T
    return task.of_probabilities(rates, rates)


def popularity(task: Task) -> Scores:
    """The item's own smoothed rate of each head, as of the moment."""
    rates = np.stack([task.column(_popularity(head).name) for head in task.heads], axis=1)
    return task.of_probabilities(rates, np.clip(rates, 0, 1))


def latest(task: Task) -> Scores:
    """The youngest first: since it was published or since its room started; of unknown age last."""
    published, started = (task.column(column.name) for column in LATEST)
    return task.of_score(-np.fmin(published, started))


def shortest(task: Task) -> Scores:
    """The shortest first; what has no duration last."""
    duration = task.column(DURATION.name)
    return task.of_score(np.where(duration > 0, -duration, np.nan))


def _item_knn(task: Task) -> Scores:
    return _by_taste(task, ItemNeighbours.fit(Preferences.before(task.history, task.slices.until_ms)))


def _ials(task: Task) -> Scores:
    past = Preferences.before(task.history, task.slices.until_ms)
    return _by_taste(task, ImplicitFactors.fit(past, task.bundle.trained.seed))


def _by_taste(task: Task, affinity: Affinity) -> Scores:
    users, items = (task.names(of_item=of_item, rows=task.test) for of_item in (False, True))
    return task.of_score(score_pairs(affinity, users, items))


def static(task: Task) -> Scores:
    """LightGBM, fitted like ours on the same rows and calibrated alike, without a counter or a factor."""
    columns = task.bundle.feature_set.columns
    at = [j for j, column in enumerate(columns) if is_static(column)]
    feature_set = FeatureSet(tuple(columns[j] for j in at), task.bundle.feature_set.utc_offset_ms)
    narrow = np.ascontiguousarray(task.features[:, at])
    fitted = fit_heads(
        Table(narrow, feature_set, task.labels, task.slices), task.bundle.trained.seed, lambda done, of: None
    )
    own = replace(task.bundle, feature_set=feature_set, models=fitted.models, heads=fitted.heads, bins=fitted.bins)
    return judged(own, narrow[task.test], task.labels.kind[task.test])


_ACTS = "what people did before, and what they are known to have liked before the log"
BASELINES: dict[str, Baseline] = {
    "random": Baseline(by_chance, "nothing"),
    "constant": Baseline(constant, "the base rates that the bundle holds"),
    "popularity": Baseline(popularity, "nothing: the item's counters as of the moment"),
    "latest": Baseline(latest, "nothing: ages as of the moment"),
    "shortest": Baseline(shortest, "nothing: the catalog as of the moment"),
    "item_knn": Baseline(_item_knn, _ACTS),
    "ials": Baseline(_ials, _ACTS),
    "fm": Baseline(factorisation_machine, "the impressions of the training and early stopping slices, ids alone"),
    "static": Baseline(static, "the slices ours is fitted on, columns of catalog and request alone"),
    "lambdamart": Baseline(lambdamart, "the training and early stopping slices, every column that ours has"),
}
"""By name, cheapest first."""
UNFITTED = ("random", "constant", "popularity", "latest", "shortest")
"""Those that learn nothing, and so cost nothing to fit."""
AT_TRAINING = ("popularity", "latest", "shortest")
"""What every training is judged beside: some seconds. All take a minute."""
