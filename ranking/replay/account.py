"""The account of a decision: what became of every candidate of a page, and whether it comes out as it was served."""

from typing import Literal

import msgspec

from features.records import Context, Slot


class Considered(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One candidate: who found it, why it was dropped, or what it is worth and where it came to stand.

    ``place`` is its place by value, ``reranked`` in the order that re-ranking gave, ``slot`` on the page; all begin
    at 0. A candidate with a place and without a slot was not good enough, or broke a bound. What was dropped before it
    was scored has no value.
    """

    item_id: str
    source: str
    kind: str = ""
    title: str = ""
    dropped: str = ""
    place: int | None = None
    reranked: int | None = None
    slot: int | None = None
    propensity: float = 1.0
    boost_spent: float = 0.0
    value: float | None = None
    terms: dict[str, float] = {}
    heads: dict[str, float] = {}
    features: dict[str, float | None] = {}


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """An item of either page: its slot, its value and the value's terms as served, and as the other bundle has it."""

    item_id: str
    slot: tuple[int | None, int | None]
    value: tuple[float | None, float | None]
    terms: dict[str, tuple[float | None, float | None]]

    @property
    def what(self) -> str:
        """``enters``, ``leaves``, ``moves`` or ``stays``."""
        before, after = self.slot
        if before is None:
            return "enters"
        if after is None:
            return "leaves"
        return "stays" if before == after else "moves"


class Other(msgspec.Struct, frozen=True, kw_only=True):
    """The same request and candidates with another bundle: its page, and every item of both pages."""

    bundle: str
    page: tuple[str, ...]
    relaxed: tuple[str, ...]
    dropped: dict[str, int]
    changes: tuple[Change, ...]


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of a page's decision.

    ``verdict``: ``equal`` if the page came out again as it was served, scores to the last bit; ``differs``; or
    ``unknown``, where nothing was kept to compute it from. ``level`` is the rung that it was made on, and ``degraded``
    why it is not all it could be, as in ``ranking.api.Feed``. ``notes`` say why. ``page`` is as computed again, and as
    served where it could not be. Of a page that was not sampled the candidates are its own items alone, scored at its
    moment, without boosts.
    """

    request_id: str
    user_id: str
    context: Context
    now_ms: int
    read_offset: int
    bundle: str
    policy: str
    level: str
    degraded: str
    sampled: bool
    verdict: Literal["equal", "differs", "unknown"]
    notes: tuple[str, ...]
    served: tuple[Slot, ...]
    page: tuple[str, ...]
    dropped: dict[str, int] = {}
    relaxed: tuple[str, ...] = ()
    candidates: tuple[Considered, ...] = ()
    other: Other | None = None
