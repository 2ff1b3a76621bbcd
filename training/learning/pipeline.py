"""From a log to a bundle: the same from the same log and seed, and nothing served yet."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import msgspec

from features.errors import TrainingError
from features.factors import Factors
from features.history import History, read_history, slates_of
from features.logs.log import EventLog
from features.reader import Codes, Reader
from features.replay import Readers, moments_of, replay
from features.schema import FeatureSet
from features.types import IntArray
from ranking.bundles.attached import attach
from ranking.bundles.bundle import Bundle, Trained, save
from training.learning.audit import audit, audit_codes, audit_factors
from training.learning.drift import REFERENCE, Reference, reference_of
from training.learning.examples import Slices, choose_codes, default_features, known_until, last_day_ms, slices_of
from training.learning.factors import fit_by_day
from training.learning.fields import refuse_unknown_fields
from training.learning.heads import Table, fit_heads
from training.learning.labels import Labels, label
from training.learning.recipe import Recipe
from training.progress import Progress, quiet, staged

PACKAGES = ("huozhao", "lightgbm", "numba", "numpy", "scikit-learn", "scipy")


@dataclass(frozen=True, slots=True)
class Learned:
    """A bundle that is nowhere yet, and what it was learned from: see ``one_call.TrainResult``.

    ``reference`` is how its columns lay; ``table`` what it was learned from, and ``slate`` (n,) the page of each row.
    """

    bundle: Bundle
    reference: Reference
    table: Table
    slate: IntArray
    slices: Slices
    rows: dict[str, int]
    positives: dict[str, dict[str, int]]
    dropped: dict[str, str]
    audited: int


def keep(learned: Learned, bundles: Path) -> Path:
    """Write a bundle, and beside it how its columns lay, under the folder of bundles; its path there."""
    place = save(learned.bundle, bundles, {name: version(name) for name in PACKAGES})
    attach(place, {REFERENCE: msgspec.json.encode(learned.reference)})
    return place


def learn(log: EventLog, recipe: Recipe | None = None, *, progress: Progress = quiet) -> Learned:
    """Learn a bundle, as ``one_call.train`` does, and write nothing."""
    recipe = recipe or Recipe()
    seed, warm = recipe.seed, recipe.warm
    progress("reading the log", 0, 1)
    until_ms = last_day_ms(log, recipe.utc_offset_ms) if recipe.until_ms is None else recipe.until_ms
    if warm and until_ms <= warm.trained.until_ms:
        what = "The bundle to go on from has learned from all that came before --until."
        raise TrainingError(
            what, "Choose a later one (the last day's midnight, if not given), or train without --warm."
        )
    history = read_history(log, until_ms)
    until_ms = known_until(log, history, until_ms)
    progress("reading the log", 1, 1)
    feature_set = recipe.columns or default_features(history)
    if recipe.feature_set:
        refuse_unknown_fields(recipe.feature_set, history)
    slices = slices_of(history, recipe.learned_from_ms, until_ms)
    slates = slates_of(history)
    labels = label(history, slates, slices.windows_ms)
    codes = warm.codes if warm else choose_codes(history, feature_set, slices.calibrate_ms)
    fitted = fit_by_day(history, until_ms, feature_set.utc_offset_ms, seed, staged(progress, "fitting factors"))
    if not warm:
        audit_codes(log, feature_set, codes, slices.calibrate_ms)
    audit_factors(log, fitted, feature_set.utc_offset_ms, seed=seed)
    readers = readers_of(feature_set, codes, history, fitted)
    keep = labels.begins >= slices.since_ms
    table = replay(log, history, slates, readers, keep, staged(progress, "reading features"))
    audited = audit(log, readers, table, moments_of(history, slates, keep), seed=seed)
    kept = labels.take(keep)
    positions = Table(table, feature_set, kept, slices)
    heads = fit_heads(positions, seed, staged(progress, "fitting heads"), growth=recipe.growth, warm=warm)
    bundle = Bundle(
        feature_set=feature_set,
        codes=codes,
        factors=fitted[-1][1],
        bins=heads.bins,
        models=heads.models,
        heads=heads.heads,
        weights=recipe.weights,
        trained=Trained(slices.since_ms, until_ms, history.end, seed),
    )
    rows, positives = _counts(kept, slices)
    reference = reference_of(table, feature_set)
    slate = slates.slate[keep]
    return Learned(bundle, reference, positions, slate, slices, rows, positives, heads.dropped, audited)


def readers_of(
    feature_set: FeatureSet, codes: Codes, history: History, fitted: Sequence[tuple[int, Factors]]
) -> Readers:
    """Readers with factors by the offset after all that these know."""
    since = tuple(history.offset_at(start_ms) for start_ms, _ in fitted)
    return Readers(since, tuple(Reader(feature_set, codes, factors) for _, factors in fitted))


def _counts(labels: Labels, slices: Slices) -> tuple[dict[str, int], dict[str, dict[str, int]]]:
    edges = {
        "train": (slices.since_ms, slices.stop_ms),
        "stop": (slices.stop_ms, slices.calibrate_ms),
        "calibrate": (slices.calibrate_ms, slices.until_ms),
    }
    began = {name: (labels.begins >= since) & (labels.begins < until) for name, (since, until) in edges.items()}
    mature = {name: slices.train if name == "train" else getattr(slices, name) for name in edges}
    return (
        {name: int(rows.sum()) for name, rows in began.items()},
        {
            name: {head: int(labels.of(head)[rows(labels, head)].sum()) for head in labels.windows_ms}
            for name, rows in mature.items()
        },
    )
