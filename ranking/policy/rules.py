"""Dated eligibility by shop and surface: what may not be shown, from when, where."""

from typing import Annotated, Literal

import msgspec

from features.records import Kind
from ranking.policy.dates import Dated

Shop = Literal["own", "third_party"]
MOST_MARKS = 63
"""Different attributes that the rules of a policy may name in ``unless``: each is a bit of an int64, its sign left."""
Named = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class Rule(Dated, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Items of some kinds may not be shown on some surfaces when what they sell is of a shop.

    A product sells itself; a room what is in its cart or pinned in it, a video what it links to. ``unless`` names an
    attribute of products: one that has it, other than 0 and empty, is not meant. Without ``shop`` any is; without
    ``surfaces``, all. Such a rule is legal: it never gives way.
    """

    name: Named
    kinds: Annotated[tuple[Kind, ...], msgspec.Meta(min_length=1)]
    shop: Shop | None = None
    unless: Annotated[str, msgspec.Meta(max_length=64)] = ""
    surfaces: tuple[str, ...] = ()

    def meant(self, surface: str, now_ms: int) -> bool:
        """Whether it holds on a surface at a moment."""
        return self.holds(now_ms) and (not self.surfaces or surface in self.surfaces)
