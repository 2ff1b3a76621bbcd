"""A stretch of log to judge bundles on: the same slates, read for each bundle as it would have read them in serving."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from features.columns import Feature
from features.errors import TrainingError
from features.history import History, Slates, Version, read_history, slates_of
from features.logs.log import EventLog
from features.reader import Reader
from features.replay import Progress as Part
from features.replay import Readers, replay
from features.schema import FeatureSet
from features.state import FeatureState
from features.types import BoolArray, DoubleArray, FloatArray, IntArray
from ranking.bundles.bundle import Bundle
from training.baselines.task import Scores, judged
from training.judging.bootstrap import Rows
from training.learning.examples import known_until
from training.learning.labels import Labels, label


@dataclass(frozen=True, slots=True)
class Stretch:
    """Slates that began from ``since_ms`` to before ``until_ms``, of a log read up to then.

    ``keep`` (impressions of ``slates``,) marks theirs.
    """

    log: EventLog
    history: History
    slates: Slates
    keep: BoolArray
    since_ms: int
    until_ms: int

    @classmethod
    def read(
        cls, log: EventLog, since_ms: int, until_ms: int | None = None, before: FeatureState | None = None
    ) -> "Stretch":
        """The stretch of a log.

        Parameters
        ----------
        before : FeatureState, optional
            All that lies before the records to read: the history begins where it ends, and slates of an earlier moment
            are left out. By default all of the log is read.

        Raises
        ------
        TrainingError
            If no slate began in it.
        """
        history = read_history(log, until_ms) if before is None else _after(before, log, until_ms)
        slates = slates_of(history)
        received = history.events.received_ms[slates.event]
        starts = np.flatnonzero(np.diff(slates.slate, prepend=-1))
        begins = np.minimum.reduceat(received, starts)[slates.slate] if len(starts) else received
        keep = (begins >= since_ms) & (slates.read_offset >= (before.offset if before else 0))
        if not keep.any():
            way_out = "Choose another --since or --until, or judge a bundle whose training ended earlier."
            raise TrainingError("No slate began in the stretch to judge on.", way_out)
        return cls(log, history, slates, keep, since_ms, known_until(log, history, until_ms))

    def only(self, marked: BoolArray) -> "Stretch":
        """The slates of which an impression is marked, (n,) of those kept."""
        slate = self.slates.slate[self.keep]
        keep = self.keep.copy()
        keep[self.keep] = np.isin(slate, slate[marked])
        return Stretch(self.log, self.history, self.slates, keep, self.since_ms, self.until_ms)

    @property
    def event(self) -> IntArray:
        """(n,) the position of each impression in the history's events."""
        return self.slates.event[self.keep]

    def rows(self, marked: BoolArray) -> Rows:
        """Who the impressions that are marked (n,) belong to."""
        user = self.history.events.user[self.event].astype(np.int64)
        return Rows(self.slates.slate[self.keep][marked], user[marked])

    def labels(self, bundle: Bundle) -> Labels:
        """What became of the impressions, by a bundle's windows."""
        windows_ms = {head: known.window_ms for head, known in bundle.heads.items()}
        return label(self.history, self.slates, windows_ms).take(self.keep)


@dataclass(frozen=True, slots=True)
class Read:
    """A stretch as a bundle reads it.

    Parameters
    ----------
    features : (n, d) float32
        Of the bundle's columns.
    columns : FeatureSet
        The bundle's, and what was read beside them.
    wide : (n, d + beside) float32
        Of all these.
    score, probabilities : (n, heads) float64
        Probabilities as if all stood in the first slot, by which a page is ordered, and for the slot each stood in.
    value : (n,) float64
    """

    bundle: Bundle
    stretch: Stretch
    labels: Labels
    features: FloatArray
    columns: FeatureSet
    wide: FloatArray
    score: DoubleArray
    value: DoubleArray
    probabilities: DoubleArray

    @classmethod
    def of(
        cls,
        bundle: Bundle,
        stretch: Stretch,
        progress: Part,
        before: FeatureState | None = None,
        beside: tuple[Feature, ...] = (),
    ) -> "Read":
        """Fold the log and read what the bundle knew at each slate's moment; nothing is fitted.

        It goes on from the state ``before``, if there is one, and advances it; else from the log's beginning. Columns
        that others want ``beside`` the bundle's are read in the same fold.
        """
        labels, ours = stretch.labels(bundle), bundle.feature_set
        columns = FeatureSet(ours.columns + beside, ours.utc_offset_ms)
        readers = Readers.always(Reader(columns, bundle.codes, bundle.factors))
        wide = replay(stretch.log, stretch.history, stretch.slates, readers, stretch.keep, progress, before)
        features = np.ascontiguousarray(wide[:, : len(ours.columns)])
        scores = judged(bundle, features, labels.kind)
        held = scores.probabilities
        if held is None:
            raise TrainingError(f"Bundle {bundle.version} gives no probabilities.", "Train it anew.")
        return cls(bundle, stretch, labels, features, columns, wide, scores.score, scores.value, held)

    def mature(self, head: str) -> BoolArray:
        """(n,) whether a head's window had closed by the end of the stretch."""
        return self.labels.mature(head, self.stretch.until_ms)

    def scores(self, heads: Sequence[str]) -> Scores:
        """What the bundle says of heads, in the order asked for; 0 of those that it does not have."""
        at = [self.column(head) if head in self.bundle.heads else -1 for head in heads]
        known = np.array(at) >= 0
        return Scores(self.score[:, at] * known, self.value, self.probabilities[:, at] * known)

    def column(self, head: str) -> int:
        """The head's column in ``score`` and ``probabilities``."""
        return list(self.bundle.heads).index(head)


def _after(before: FeatureState, log: EventLog, until_ms: int | None) -> History:
    """What a log holds beyond a state; its catalog begins with the state's rows of the items that it speaks of."""
    history = read_history(log, until_ms, before.offset)
    rows = before.items.find_all(history.items)
    known = [item for row in rows[rows > 0].tolist() if (item := before.item(row)) is not None]
    return replace(history, catalog_log=(*(Version(0, 0, item) for item in known), *history.catalog_log))
