"""What a training is asked for, as one value: passed on whole, changed with ``dataclasses.replace``."""

from dataclasses import dataclass, field

from features.errors import TrainingError
from features.schema import FeatureSet
from features.standard import standard
from ranking.bundles.bundle import Bundle
from ranking.value import Weights
from training.learning.grower import Growth

UTC_OFFSET_MS = standard({}, {}).utc_offset_ms


@dataclass(frozen=True, slots=True)
class Recipe:
    """What to learn from, and how; the same log and recipe give the same bundle.

    Parameters
    ----------
    since_ms : int, optional
        Impressions received earlier are not learned from, but counted in the features. Default: the first record, or
        where the training of ``warm`` ended.
    until_ms : int, optional
        Nothing received from then on is used at all. Default: when the local day of the last impression began.
    seed : int
        Of all that is drawn by lot.
    feature_set : FeatureSet, optional
        Default: that of ``warm``, or ``features.standard.standard`` with every attribute of the catalog;
        ``training.declared`` reads one.
    weights : Weights
        What the value weighs heads with, served where the policy has no weights of its own; judged by in its report.
    growth : Growth
        Seeds to average, the share of negatives to learn from, and heads.
    warm : Bundle, optional
        The trees of its heads are kept and more are grown upon them, from the impressions since its training ended,
        on its columns, its codes and its grid.

    Raises
    ------
    TrainingError
        If ``since_ms`` is not before ``until_ms``, or ``warm`` has other columns, or has learned from a part of what is
        to be learned from.
    """

    since_ms: int | None = None
    until_ms: int | None = None
    seed: int = 0
    feature_set: FeatureSet | None = None
    weights: Weights = field(default_factory=Weights)
    growth: Growth = field(default_factory=Growth)
    warm: Bundle | None = None

    def __post_init__(self) -> None:
        if self.since_ms is not None and self.until_ms is not None and self.since_ms >= self.until_ms:
            raise TrainingError("--since is not before --until: nothing lies between.", "Choose an earlier --since.")
        if self.warm is None:
            return
        if self.feature_set not in (None, self.warm.feature_set):
            what = "The bundle to go on from has other columns than are asked for."
            raise TrainingError(what, "Go on with its columns, or train anew.")
        if self.since_ms is not None and self.since_ms < self.warm.trained.until_ms:
            what = "The bundle to go on from knows a part of what it would be held against."
            raise TrainingError(what, "Leave out --since, or train anew.")

    @property
    def columns(self) -> FeatureSet | None:
        """The columns that are asked for, by name or by the bundle to go on from; None for the standard ones."""
        return self.warm.feature_set if self.warm else self.feature_set

    @property
    def learned_from_ms(self) -> int | None:
        """Since when impressions are learned from; None for the first."""
        return self.warm.trained.until_ms if self.warm and self.since_ms is None else self.since_ms

    @property
    def utc_offset_ms(self) -> int:
        """Where its days begin."""
        return self.columns.utc_offset_ms if self.columns else UTC_OFFSET_MS
