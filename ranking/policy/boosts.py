"""Boosts: items that are lifted for a while, for so many impressions, and only where they are relevant."""

from typing import Annotated

import msgspec

from features.records import Kind
from ranking.policy.dates import Dated
from ranking.policy.rules import Named


class Boost(Dated, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A bounded term for what it names, while its budget of impressions lasts.

    An item is meant when every list that is given names it. It is lifted on a page when its own value reaches that of
    the share ``floor`` of the page's candidates, from the worst: 0.5 is the median. Of several boosts one lifts it: the
    first written whose floor it reaches and whose budget has an impression left. The budget belongs to the name, across
    versions of the policy.
    """

    name: Named
    term: Annotated[float, msgspec.Meta(gt=0, le=8)]
    budget: Annotated[int, msgspec.Meta(ge=0, le=1 << 40)]
    floor: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.5
    kinds: tuple[Kind, ...] = ()
    surfaces: tuple[str, ...] = ()
    items: tuple[str, ...] = ()
    authors: tuple[str, ...] = ()
    merchants: tuple[str, ...] = ()
    brands: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        Dated.__post_init__(self)
        if not (self.items or self.authors or self.merchants or self.brands or self.categories):
            raise ValueError("it names nothing: give items, authors, merchants, brands or categories")

    def meant(self, surface: str, now_ms: int) -> bool:
        """Whether it holds on a surface at a moment."""
        return self.holds(now_ms) and (not self.surfaces or surface in self.surfaces)
