"""Counting what was found of what was wanted, and the figures of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from features.types import BoolArray, IntArray, RowArray
from training.judging.bootstrap import Bootstrap, Sums, ratio
from training.judging.figures import Row, row_of
from training.judging.metrics import difference

DEPTHS = (50, 100, 500)
SHOWN = 100
"""The depth that coverage and the share of new items are counted at."""


@dataclass(slots=True)
class _Tally:
    """One system and kind: hits (people, depths), rows given by person at ``SHOWN``."""

    hits: dict[int, IntArray] = field(default_factory=dict)
    given: dict[int, RowArray] = field(default_factory=dict)


class Recall:
    """What each system found for each person, kind by kind.

    Parameters
    ----------
    users : sequence of int
        The people's codes, in the order they are asked for.
    """

    def __init__(self, users: Sequence[int]) -> None:
        self.users = np.array(users, np.int64)
        self.positives: dict[str, IntArray] = {}
        self.tallies: dict[tuple[str, str], _Tally] = {}
        self._kind = ""
        self._wanted = np.zeros(0, np.int32)

    def wanted(self, person: int, kind: str, rows: RowArray, count: int) -> None:
        """What is to be found next: rows of items, and how many there are with those that have no row yet."""
        self.positives.setdefault(kind, np.zeros(len(self.users), np.int64))[person] = count
        self._kind, self._wanted = kind, rows

    def found(self, person: int, system: str, rows: RowArray) -> None:
        """What a system found of it, best first; ``legal`` may be longer than the last depth."""
        tally = self.tallies.setdefault((system, self._kind), _Tally())
        hit = np.isin(rows, self._wanted)
        tally.hits[person] = np.array([*(hit[:depth].sum() for depth in DEPTHS), hit.sum()], np.int64)
        tally.given[person] = rows[:SHOWN] if system != LEGAL else rows


LEGAL, UNION = "legal", "union"


def recall_rows(recall: Recall, warm: BoolArray, new: BoolArray, boot: Bootstrap) -> Iterator[Row]:
    """The rows of all systems, kinds and slices.

    Parameters
    ----------
    warm : (users,) bool
        By the user's code.
    new : (items,) bool
        By the item's row.
    """
    is_warm = warm[recall.users]
    slices = {"all": np.ones(len(is_warm), np.bool_), "user=warm": is_warm, "user=cold": ~is_warm}
    for (system, kind), tally in recall.tallies.items():
        for name, held in slices.items():
            people = np.flatnonzero(held & (recall.positives[kind] > 0))
            depths = {len(DEPTHS): "recall@all"} if system == LEGAL else dict(enumerate(f"recall@{k}" for k in DEPTHS))
            for depth, metric in depths.items():
                figure = _recall(recall, tally, kind, people, depth, metric).figure(boot)
                yield row_of(system, "retrieval", kind, figure, name)
            if system == UNION:
                yield from _differences(recall, kind, people, boot, name)
        yield from _reach(recall, system, kind, new, boot)


def _recall(recall: Recall, tally: _Tally, kind: str, people: IntArray, depth: int, metric: str) -> Sums:
    wanted = recall.positives[kind][people]
    hits = np.array([tally.hits[person][depth] for person in people.tolist()], np.float64)
    by_user = np.stack([hits / np.maximum(wanted, 1), np.ones(len(people))], axis=1)
    return Sums(metric, by_user, ratio, int(wanted.sum()), len(people), 0)


def _differences(recall: Recall, kind: str, people: IntArray, boot: Bootstrap, slice_name: str) -> Iterator[Row]:
    """The union's recall less that of every other system, person by person."""
    for depth, k in enumerate(DEPTHS):
        ours = _recall(recall, recall.tallies[UNION, kind], kind, people, depth, f"recall@{k}")
        for (other, of_kind), tally in recall.tallies.items():
            if of_kind == kind and other not in (UNION, LEGAL):
                theirs = _recall(recall, tally, kind, people, depth, f"recall@{k}_diff_vs_{other}")
                found = difference(ours, theirs, boot)
                row = row_of(UNION, "retrieval", kind, found, slice_name)
                yield msgspec.structs.replace(row, metric=theirs.metric, p_value=found.p_value)


def _reach(recall: Recall, system: str, kind: str, new: BoolArray, boot: Bootstrap) -> Iterator[Row]:
    """How much of the catalogue anybody was given, and how much of what was given is new."""
    given, legal = recall.tallies[system, kind].given, recall.tallies[LEGAL, kind].given
    catalogue = np.unique(np.concatenate(list(legal.values())))
    covered = np.unique(np.concatenate(list(given.values())))
    share = len(covered) / len(catalogue) if len(catalogue) else np.nan
    yield Row(system, "retrieval", kind, "all", f"coverage@{SHOWN}", share, np.nan, np.nan, len(covered), len(given), 0)
    by_user = np.array([[new[rows].sum(), len(rows)] for rows in given.values()], np.float64)
    fresh = Sums(f"new_share@{SHOWN}", by_user, ratio, int(by_user[:, 0].sum()), len(given), 0)
    yield row_of(system, "retrieval", kind, fresh.figure(boot))
