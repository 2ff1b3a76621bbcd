"""How a page is made: what the light stage looks at, how variety is traded for value, and what each surface shows."""

from typing import Annotated, Literal

import msgspec

from features.records import Kind

BoundOf = Literal["author", "merchant", "brand", "category", "room", "product", "video", "commerce", "head_host"]
RerankBy = Literal["none", "dpp", "mmr"]


class Light(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The light first stage: which trees look at all candidates, and how many are then scored in full."""

    trees: Annotated[int, msgspec.Meta(ge=1, le=100_000)]
    keep: Annotated[int, msgspec.Meta(ge=1, le=100_000)]


class Rerank(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the order by value gives way to variety, as in ``ranking.mixing.rerank``."""

    method: RerankBy
    theta: Annotated[float, msgspec.Meta(ge=0, lt=1)]
    window: Annotated[int, msgspec.Meta(ge=0, le=200)]
    depth: Annotated[int, msgspec.Meta(ge=1, le=5_000)]


class Bound(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """At most ``at_most`` items of one author, merchant, brand or category, of one kind, that sell, or of head hosts.

    In any ``window`` consecutive slots, which are more than ``at_most``; commerce also in what a person was served in a
    "day".
    """

    of: BoundOf
    at_most: Annotated[int, msgspec.Meta(ge=1, le=10_000)]
    window: Annotated[int, msgspec.Meta(ge=1, le=200)] | Literal["day"]

    def __post_init__(self) -> None:
        if isinstance(self.window, int) and self.at_most >= self.window:
            raise ValueError(f"at_most: {self.at_most} in {self.window} slots bounds nothing; give less than window")
        if self.window == "day" and self.of != "commerce":
            raise ValueError(f"window: that of {self.of} is a day, and only that of commerce may be")

    @property
    def name(self) -> str:
        """How answers call it when it gave way."""
        return f"{self.of} {self.at_most}/{self.window}"


class Surface(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entrance: the kinds it shows, its bounds in the order they give way, the weights it replaces."""

    kinds: Annotated[tuple[Kind, ...], msgspec.Meta(min_length=1)]
    bounds: tuple[Bound, ...]
    weights: dict[str, float]
