"""Which impressions are learned from, and for what: slices of time, and the values that keep a code."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from features.columns import CONTEXT_CATEGORIES, MAX_CODES, Category, InContext
from features.errors import TrainingError
from features.history import IMPRESSION, History
from features.logs.log import DAY_MS, EventLog
from features.reader import Codes
from features.records import Item, User
from features.schema import FeatureSet
from features.standard import standard
from features.types import BoolArray, RowArray
from training.learning.labels import WINDOWS_MS, Labels

HELD_OUT = 0.12
"""The share of impressions kept for early stopping, and as many again for calibration."""
LEAST_IMPRESSIONS = 200
LEAST_COUNT = 20
"""A value seen in fewer impressions than this shares the code 0 with all unseen ones."""


@dataclass(frozen=True, slots=True)
class Slices:
    """Train, early stopping and calibration, one after the other, in ms as received.

    They are ``[since, stop)``, ``[stop, calibrate)`` and ``[calibrate, until)``. A slate is in the slice in which it
    began, for a head only if the head's window closed before the slice did: so nothing that became known in a later
    slice is learned from in an earlier one.
    """

    since_ms: int
    stop_ms: int
    calibrate_ms: int
    until_ms: int

    def train(self, labels: Labels, head: str) -> BoolArray:
        """(n,) the impressions that trees are grown on."""
        return _within(labels, head, self.since_ms, self.stop_ms)

    def stop(self, labels: Labels, head: str) -> BoolArray:
        """(n,) the impressions that say how many trees."""
        return _within(labels, head, self.stop_ms, self.calibrate_ms)

    def fit(self, labels: Labels, head: str) -> BoolArray:
        """(n,) train and early stopping together, for the last fit."""
        return _within(labels, head, self.since_ms, self.calibrate_ms)

    def calibrate(self, labels: Labels, head: str) -> BoolArray:
        """(n,) the impressions that calibrators are fitted on."""
        return _within(labels, head, self.calibrate_ms, self.until_ms)

    @property
    def windows_ms(self) -> dict[str, int]:
        """The heads' windows: one longer than half a held-out slice is cut to that half.

        In a log of a few days no order would have matured otherwise; the bundle keeps the windows it was trained by.
        """
        most = min(self.calibrate_ms - self.stop_ms, self.until_ms - self.calibrate_ms) // 2
        return {head: min(window, most) for head, window in WINDOWS_MS.items()}


def _within(labels: Labels, head: str, since_ms: int, until_ms: int) -> BoolArray:
    return (labels.begins >= since_ms) & (labels.begins < until_ms) & labels.mature(head, until_ms)


def last_day_ms(log: EventLog, utc_offset_ms: int) -> int:
    """When the local day of the log's last impression began."""
    last = -1
    for batch in log.read():
        shown = batch["received_ms"].filter(pc.equal(batch["action"], "impression"))
        last = shown[-1].as_py() if len(shown) else last
    if last < 0:
        raise TrainingError("The log holds no impression.", "Import or simulate some feedback first.")
    return int((last + utc_offset_ms) // DAY_MS * DAY_MS - utc_offset_ms)


def known_until(log: EventLog, history: History, until_ms: int | None) -> int:
    """Until when a history tells what happened: a window that the log does not outlive has not closed."""
    end_ms = history.last_ms + 1
    if until_ms is None or history.end == log.end():
        return end_ms if until_ms is None else min(until_ms, end_ms)
    return until_ms


def slices_of(history: History, since_ms: int | None, until_ms: int) -> Slices:
    """Cut the impressions received from ``since_ms`` to before ``until_ms``: 76, 12 and 12 % of them.

    Raises
    ------
    TrainingError
        If there are too few of them.
    """
    events = history.events
    since_ms = int(events.received_ms[0]) if since_ms is None and len(events) else since_ms or 0
    shown = events.received_ms[events.action == IMPRESSION]
    shown = shown[(shown >= since_ms) & (shown < until_ms)]
    if len(shown) < LEAST_IMPRESSIONS:
        what = f"{len(shown)} impressions lie before the end of training, {LEAST_IMPRESSIONS} are the least."
        way_out = "Choose a later --until (the last day's midnight, if not given), an earlier --since, or a longer log."
        raise TrainingError(what, way_out)
    stop, calibrate = (int(shown[int(len(shown) * (1 - held * HELD_OUT))]) for held in (2, 1))
    return Slices(since_ms, stop, calibrate, until_ms)


def attributes_of(rows: Sequence[Item | User]) -> dict[str, type]:
    """The attributes that catalog rows have: text where one is a text, else a number."""
    found: dict[str, type] = {}
    for row in rows:
        for name, value in row.attributes.items():
            if found.get(name) is not str:
                found[name] = str if isinstance(value, str) else float
    return found


def default_features(history: History) -> FeatureSet:
    """``features.standard.standard`` with every attribute of the catalog."""
    return standard(attributes_of([*history.catalog.values()]), attributes_of([*history.people.values()]))


def choose_codes(history: History, feature_set: FeatureSet, until_ms: int) -> Codes:
    """The most frequent values of every categorical column among the impressions received before a time.

    At most ``MAX_CODES`` each, by frequency then name, of those seen at least ``LEAST_COUNT`` times. Nothing received
    from then on is used.
    """
    events = history.events
    shown = np.flatnonzero((events.action == IMPRESSION) & (events.received_ms < until_ms))
    catalog, people = history.catalog_before(until_ms), history.people_before(until_ms)
    items = _counts(events.item[shown], history.items)
    users = _counts(events.user[shown], history.users)
    values = {}
    for column in feature_set.columns:
        match column:
            case InContext(source=source) if source in CONTEXT_CATEGORIES:
                values[column.name] = _most(_counts(getattr(events, source)[shown], history.words))
            case Category(source=source):
                entity, _, name = source.partition(".")
                counts, rows = (items, catalog) if entity == "item" else (users, people)
                values[column.name] = _most(
                    [(value_of(rows[key], name), count) for key, count in counts if key in rows]
                )
    return Codes(values)


_FIELDS = {"author": "author_id", "merchant": "merchant_id", "brand": "brand_id"}


def value_of(row: Item | User, name: str) -> str:
    """The text of a category of an item or a user, as the feature state names it; "" where it has none."""
    field = _FIELDS.get(name, name)
    value = getattr(row, field) if field in row.__struct_fields__ else row.attributes.get(name, "")
    return str(value) if isinstance(value, str) else ""


def _counts(codes: RowArray, names: Sequence[str]) -> list[tuple[str, int]]:
    counts = np.bincount(codes, minlength=len(names))
    return [(names[code], int(counts[code])) for code in np.flatnonzero(counts).tolist()]


def _most(counts: Sequence[tuple[str, int]]) -> tuple[str, ...]:
    total: Counter[str] = Counter()
    for value, count in counts:
        total[value] += count
    known = [(-count, value) for value, count in total.items() if value and count >= LEAST_COUNT]
    return tuple(value for _, value in sorted(known)[:MAX_CODES])
