"""What callers say to an engine and hear from it: plain structs, that a client can have without the engine.

Bounds are checked where a request is decoded, and stand in the contract of ``serving``.
"""

from typing import Annotated, Literal

import msgspec

from features.records import Id, Kind, Name, OptionalId, TimeMs
from ranking.agreement import Agreement

MAX_COUNT = 200
DeadlineMs = Annotated[int, msgspec.Meta(ge=1, le=60_000)]
"""Milliseconds from when a server has a request to when its answer leaves."""

Level = Literal["full", "light", "popular", "last", "given"]
"""The rungs. ``light``: scored by the first trees alone; ``popular``: charts, unscored; ``last``: the list that the
last popular page of the surface was made of; ``given``: items to rank in the order they came."""


class FeedRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who asks for a page, where, and how long it shall be.

    ``surface`` is one that the policy declares. ``now_ms`` and ``request_id`` are given by the server; in process by
    the caller. ``explain`` adds every item's feature row to the answer. ``seen`` are items on the screen whose
    impressions may not have been sent yet: scrolling on does not repeat them. Where less than ``deadline_ms`` is left
    for a page of the first quality a server gives a lesser one, and says so; in process there is no deadline but by a
    ``Budget``.
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
    deadline_ms: DeadlineMs = 50


class Alive(msgspec.Struct, frozen=True):
    """Which items may still be shown, in the order they were asked for; and why each other may not."""

    item_ids: tuple[str, ...]
    gone: dict[str, str]


class FeedItem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
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
    bounds that gave way. ``level`` is the rung that the page was made on, as in ``request.ladder``; ``degraded`` says
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


class Ack(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of a record: its offset, or why it has none; ``note`` says if it was kept without being counted."""

    status: Literal["accepted", "duplicate", "rejected"]
    offset: int | None = None
    error: str = ""
    note: str = ""


class Indexed(msgspec.Struct, frozen=True, kw_only=True):
    """How the index of a kind stands.

    ``bytes`` are those beside the vectors, which the reader keeps; ``lists`` how many answer, 0 where all is scanned;
    ``training`` whether new ones are made beside them; ``outside`` how many vectors, far longer than others, stand in
    no list and are scored in every search; ``falls_short`` whether lists were found to miss too many of the best, so
    that all searches, or those for very many, scan all.
    """

    vectors: int
    bytes: int
    lists: int = 0
    training: bool = False
    outside: int = 0
    falls_short: bool = False


Stage = Literal["log", "items", "lists", "pages"]


class Coming(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle that is made ready beside the one that is served.

    ``since_ms`` is when that was begun; ``stage`` what is at work: the ``log`` that its state is folded of, where that
    is another, then its ``items``, the ``lists`` of their vectors, the first ``pages``.
    """

    bundle: str
    since_ms: int
    stage: Stage


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """How the engine stands: what it serves with, how far it has folded, what it knows and what it ignored.

    ``bundle_since_ms`` is when the bundle was taken up, 0 for the one that the engine was opened with;
    ``policy_since_ms`` likewise. ``bundle_ready_ms`` is how long it was made ready before, ``coming`` the one that
    is made ready now, if one is. ``policy_fault`` says why policy.toml as it stands, or a boost, cannot be served.
    ``indexes`` is by kind. ``shadow`` says how far a second bundle agrees, where one scores beside.
    """

    bundle: str
    bundle_since_ms: int = 0
    bundle_ready_ms: int = 0
    coming: Coming | None = None
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
