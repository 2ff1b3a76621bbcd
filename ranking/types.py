"""What passes between the stages of a request: each stage has a type of its own, none is filled in later.

``Query`` → ``Candidates`` → ``Batch`` → ``Scored`` → ``Slate`` → ``Page`` → ``Feed``.
Items are rows of the feature state until the last step.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal, NamedTuple, Protocol, Self

import msgspec
import numpy as np

from features.records import Context, Id, Kind, Name, OptionalId, TimeMs
from features.types import BoolArray, ByteArray, DoubleArray, FloatArray, IntArray, RowArray, ShortArray
from ranking.agreement import Agreement
from ranking.ladder import Level
from ranking.trees import Coded, Forest

MAX_COUNT = 200
DeadlineMs = Annotated[int, msgspec.Meta(ge=1, le=60_000)]
"""Milliseconds from when a server has a request to when its answer leaves."""


class FeedRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who asks for a page, where, and how long it shall be.

    ``now_ms`` and ``request_id`` are given by the server; in process by the caller. ``explain`` adds every item's
    feature row to the answer. ``seen`` are items on the screen whose impressions may not have been sent yet: scrolling
    on does not repeat them. Where less than ``deadline_ms`` is left for a page of the first quality a server gives a
    lesser one, and says so; in process there is no deadline but by a ``Budget``.
    """

    user_id: OptionalId = ""
    surface: Name = "feed"
    count: Annotated[int, msgspec.Meta(ge=1, le=MAX_COUNT)] = 20
    device: Name = ""
    city_tier: Name = ""
    explain: bool = False
    seen: Annotated[tuple[Id, ...], msgspec.Meta(max_length=1000)] = ()
    deadline_ms: DeadlineMs = 50


class RankRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which items to order for a person; unknown and illegal ones come back in ``dropped``, by reason."""

    item_ids: Annotated[tuple[Id, ...], msgspec.Meta(min_length=1, max_length=5000)]
    user_id: OptionalId = ""
    surface: Name = "feed"
    device: Name = ""
    city_tier: Name = ""
    explain: bool = False
    deadline_ms: DeadlineMs = 50


class AliveRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The items of a page that was fetched earlier, and for whom and where it will be shown."""

    item_ids: Annotated[tuple[Id, ...], msgspec.Meta(min_length=1, max_length=1000)]
    user_id: OptionalId = ""
    surface: Name = "feed"


class Alive(msgspec.Struct, frozen=True):
    """Which items may still be shown, in the order they were asked for; and why each other may not."""

    item_ids: tuple[str, ...]
    gone: dict[str, str]


class FeedItem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One item of a page: why it is there, and what its value is the sum of."""

    item_id: Id
    kind: Kind
    title: str
    author_id: str
    category: str
    price: int
    value: float
    terms: dict[str, float]
    heads: dict[str, float]
    source: str
    why: str = ""
    propensity: float = 1.0
    boost_spent: float = 0.0
    sells: bool = False
    features: dict[str, float | None] = {}


class Feed(msgspec.Struct, frozen=True, kw_only=True):
    """A page, in page order, and its moment ``(read_offset, now_ms)``.

    ``dropped`` counts candidates by reason (``light``: cut by the light first stage); ``relaxed`` names the composition
    bounds that gave way. ``level`` is the rung that the page was made on, as in ``ranking.ladder``; ``degraded`` says
    why it is not all it could be: ``deadline``, or what failed, ``ranker``, ``state`` or a ``source``. ``given_up``,
    where reasons are asked for, is the value by heads alone that a slot lost on average: to the policy's ``terms``, and
    to the ``page`` as it was composed (variety, bounds, lots, what had gone).
    """

    request_id: Id
    user_id: str
    surface: str
    now_ms: TimeMs
    read_offset: int
    bundle: str
    policy: str
    items: tuple[FeedItem, ...]
    dropped: dict[str, int]
    relaxed: tuple[str, ...] = ()
    level: Level = "full"
    degraded: str = ""
    given_up: dict[str, float] = {}


@dataclass(frozen=True, slots=True)
class Query:
    """A request against the state: who asks (row 0: nobody known, or personalisation off) and what they like.

    ``vector`` (dims,) float32 is the person's unit vector, zeros where nothing is known. ``shown`` are item rows on the
    screen already; ``liked`` those that the page's reasons may name, none unless they are asked for.
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


@dataclass(frozen=True, slots=True)
class Candidates:
    """Items found: rows (n,) int32 each once, and the source (n,) uint8 that found each first."""

    rows: RowArray
    source: ByteArray


@dataclass(frozen=True, slots=True)
class Decided:
    """What the policy says of candidates, by the state as of their moment.

    terms (n, T) float64 in units of value, beside those of heads; boost (n,) int16, the number of the boost that means
    the item, from 1, 0 none; sells (n,) bool; keys (bounds, n) int32, of what each bound of the surface counts, 0 bound
    by nothing; held (bounds,) int64, how many the person was served today for bounds over a day.
    """

    terms: DoubleArray
    boost: ShortArray
    sells: BoolArray
    keys: RowArray
    held: IntArray

    def at(self, positions: IntArray) -> Self:
        """Of some of the candidates (m,), in that order."""
        parts = {name: getattr(self, name)[positions] for name in ("terms", "boost", "sells")}
        return replace(self, keys=self.keys[:, positions], **parts)


@dataclass(frozen=True, slots=True)
class Batch:
    """Legal candidates with their feature rows (n, d) float32, as of ``read_offset`` and the query's time.

    rows (n,) int32; kinds (n,) uint8 as in ``features.outcomes``; source (n,) uint8; vectors (n, dims) float32, unit or
    zero, of no dimensions where the policy's re-ranking reads none. ``coded`` has the same rows as a ranker by trees
    scores them; features that it keeps by item are then NaN, unless asked for.
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
    """A page after its last check: positions (m,) into ``Scored``, in page order, and the catalog rows as JSON.

    ``drawn`` has the propensity of each position that was drawn by lot; ``relaxed`` the bounds that the page breaks
    where something had gone from it; ``near`` the item that each of the page is nearest to of what the person liked,
    "" where none is, if reasons were asked for.
    """

    at: IntArray
    payloads: tuple[bytes, ...]
    drawn: Mapping[int, float] = field(default_factory=dict)
    relaxed: tuple[str, ...] | None = None
    near: tuple[str, ...] = ()


class Ack(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of a record: its offset, or why it has none; ``note`` says if it was kept without being counted."""

    status: Literal["accepted", "duplicate", "rejected"]
    offset: int | None = None
    error: str = ""
    note: str = ""


class Indexed(msgspec.Struct, frozen=True, kw_only=True):
    """How the index of a kind stands.

    ``bytes`` are those beside the vectors, which the reader keeps; ``lists`` how many answer, 0 where all is scanned;
    ``training`` whether new ones are made beside them.
    """

    vectors: int
    bytes: int
    lists: int = 0
    training: bool = False


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """How the engine stands: what it serves with, how far it has folded, what it knows and what it ignored.

    ``bundle_since_ms`` is when the bundle was taken up, 0 for the one that the engine was opened with;
    ``policy_since_ms`` likewise. ``policy_fault`` says why policy.toml as it stands, or a boost, cannot be served.
    ``indexes`` is by kind. ``shadow`` says how far a second bundle agrees, where one scores beside.
    """

    bundle: str
    bundle_since_ms: int = 0
    policy: str
    policy_since_ms: int = 0
    policy_fault: str = ""
    offset: int
    received_ms: int
    users: int
    items: int
    rooms_alive: int
    late_events: int
    repeated_watches: int
    writer: bool
    indexes: dict[str, Indexed] = {}
    shadow: Agreement | None = None


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
