"""What passes between the stages of a request: each stage has a type of its own, none is filled in later.

``Query`` → ``Candidates`` → ``Batch`` → ``Scored`` → ``Slate`` → ``Page``, and ``ranking.api.Feed`` is the answer.
Items are rows of the feature state until the last step.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol, Self

import numpy as np

from features.records import Context
from features.types import BoolArray, ByteArray, DoubleArray, FloatArray, IntArray, RowArray
from ranking.forest.trees import Coded, Forest


class Unlogged(NamedTuple):
    """What was answered of a day and is not in the log yet: slots, how many sold, and how many of these to a person."""

    slots: int = 0
    selling: int = 0
    sold: int = 0


NOTHING = Unlogged()


@dataclass(frozen=True, slots=True)
class Query:
    """A request against the state: who asks (row 0: nobody known, or personalisation off) and what they like.

    ``vector`` (dims,) float32 is the person's unit vector, zeros where nothing is known. ``shown`` are item rows on the
    screen already; ``liked`` those that the page's reasons may name, none unless they are asked for. ``unlogged`` is
    what was served this day and is not in the log yet.
    """

    request_id: str
    user_id: str
    user: int
    personalised_user: int
    now_ms: int
    count: int
    context: Context
    vector: FloatArray
    shown: RowArray = field(default_factory=lambda: np.zeros(0, np.int32))
    liked: RowArray = field(default_factory=lambda: np.zeros(0, np.int32))
    unlogged: Unlogged = NOTHING


@dataclass(frozen=True, slots=True)
class Candidates:
    """Items found: rows (n,) int32 each once, and the source (n,) uint8 that found each first."""

    rows: RowArray
    source: ByteArray


@dataclass(frozen=True, slots=True)
class Decided:
    """What the policy says of candidates, by the state as of their moment.

    terms (n, T) float64 in units of value, beside those of heads; boosts (b,) int64, the places in the policy of boosts
    that hold and mean any of them, as written, and meant (b, n) bool, which they mean; sells (n,) bool; keys (bounds,
    n) int32, of what each bound of the surface counts, 0 by nothing; held (bounds,) int64, how many the person was
    served today for bounds over a day.
    """

    terms: DoubleArray
    boosts: IntArray
    meant: BoolArray
    sells: BoolArray
    keys: RowArray
    held: IntArray

    def at(self, positions: IntArray) -> Self:
        """Of some of the candidates (m,), in that order."""
        parts = {name: getattr(self, name)[positions] for name in ("terms", "sells")}
        return replace(self, keys=self.keys[:, positions], meant=self.meant[:, positions], **parts)


@dataclass(frozen=True, slots=True)
class Batch:
    """Legal candidates with their feature rows (n, d) float32, as of ``read_offset`` and the query's time.

    rows (n,) int32; kinds (n,) uint8 as in ``features.outcomes``; source (n,) uint8; vectors (n, dims) float32, unit or
    zero, of no dimensions where the policy's re-ranking reads none. ``coded`` has the same rows as a ranker by trees
    scores them; there are then no features (d is 0), unless they are asked for.
    """

    query: Query
    rows: RowArray
    kinds: ByteArray
    source: ByteArray
    decided: Decided
    features: FloatArray
    vectors: FloatArray
    read_offset: int
    coded: Coded | None = None

    def at(self, positions: IntArray) -> Self:
        """The batch of some of its candidates (m,), in that order."""
        names = ("rows", "kinds", "source", "features", "vectors")
        chosen = {name: getattr(self, name)[positions] for name in names}
        coded, decided = self.coded and self.coded.at(positions), self.decided.at(positions)
        return replace(self, coded=coded, decided=decided, **chosen)


@dataclass(frozen=True, slots=True)
class Scored:
    """A batch with what is expected of it.

    probabilities (n, heads) float64, calibrated; terms (n, heads + T) float64 in units of value, those of heads first,
    then what the policy adds; value (n,) float64, the sum of terms.
    """

    batch: Batch
    probabilities: DoubleArray
    terms: DoubleArray
    value: DoubleArray


class Bounded(NamedTuple):
    """The bounds of a page, the first of which gives way first.

    keys (bounds, n) int32: items of one key are counted together, 0 is bound by nothing; limits (bounds, 2) int64: how
    many at most, in how many slots.
    """

    names: tuple[str, ...]
    keys: RowArray
    limits: IntArray


@dataclass(frozen=True, slots=True)
class Slate:
    """A page before its last check: positions (m,) into ``Scored``, in page order, then the reserve, best first.

    ``drawn`` has the propensity of each position that was drawn by lot; ``bounds`` are those that it was filled within.
    """

    page: IntArray
    reserve: IntArray
    drawn: Mapping[int, float] = field(default_factory=dict)
    bounds: Bounded | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """A page after its last check: positions (m,) into ``Scored``, in page order, and catalog rows as one JSON array.

    ``drawn`` has the propensity of each position that was drawn by lot; ``relaxed`` the bounds that the page breaks
    where something had gone from it; ``near`` the item that each of the page is nearest to of what the person liked,
    "" where none is, if reasons were asked for.
    """

    at: IntArray
    payloads: bytes
    drawn: Mapping[int, float] = field(default_factory=dict)
    relaxed: tuple[str, ...] | None = None
    near: tuple[str, ...] = ()


class Source(Protocol):
    """A recall channel."""

    @property
    def name(self) -> str:
        """What answers and records call it."""
        ...

    def retrieve(self, query: Query, k: int) -> RowArray:
        """At most k item rows, best first, each once; the caller holds the state's mutex."""
        ...


class VectorIndex(Protocol):
    """Vectors by item row that come and go; one conformance suite runs over every implementation."""

    def __len__(self) -> int: ...

    def put(self, rows: RowArray, vectors: FloatArray) -> None:
        """Add vectors (n, dims) float32, or replace those of rows that are there."""
        ...

    def remove(self, rows: RowArray) -> None:
        """Take rows out; rows that are not there are ignored."""
        ...

    def search(
        self, vector: FloatArray, k: int, allowed: BoolArray | RowArray | None = None
    ) -> tuple[RowArray, FloatArray]:
        """At most k rows by inner product, highest first, ties by row; ``allowed``: a mask by row, or sorted rows."""
        ...

    def search_many(
        self, vectors: FloatArray, k: int, allowed: BoolArray | RowArray | None = None, threads: int = 1
    ) -> list[tuple[RowArray, FloatArray]]:
        """``search`` for each of some vectors (m, dims), in as many threads; the same answers."""
        ...

    def memory(self) -> dict[str, int]:
        """Bytes by part; vectors that are shared are their owner's."""
        ...


class Ranker(Protocol):
    """Calibrated probabilities of every head."""

    @property
    def heads(self) -> tuple[str, ...]:
        """Names, in column order."""
        ...

    @property
    def forest(self) -> Forest | None:
        """The trees that it scores by, if it does: rows are coded for them."""
        ...

    def predict(self, batch: Batch, trees: int | None = None) -> DoubleArray:
        """Probabilities (n, heads) float64 of a batch; 0 for a head that a kind does not have.

        With ``trees``, by the first so many trees of each head: a first look, at that share of the cost. A ranker
        without trees answers the same.
        """
        ...


class Reranker(Protocol):
    """An order of what was scored."""

    def order(self, query: Query, scored: Scored) -> IntArray:
        """Positions (n,), best first, each once."""
        ...
