"""What the platform leans towards, as bounded terms of the value: fees by shop and date, shops, hosts."""

from typing import Annotated

import msgspec

from ranking.policy.dates import Dated
from ranking.policy.rules import Shop

Lean = Annotated[float, msgspec.Meta(ge=-4, le=4)]
"""In units of value: the weight of a head's standard deviation."""


class Fee(Dated, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The share of the price that a shop pays for what is sold here; of several that hold, the last written."""

    shop: Shop
    fee: Annotated[float, msgspec.Meta(ge=0, le=1)]


class Fees(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The fee table, and what a fee of the whole price would add to the value.

    A product has its shop's fee, a room that of the product pinned in it, a video none.
    """

    weight: Lean
    table: tuple[Fee, ...]

    def rates(self, now_ms: int) -> tuple[float, float, float]:
        """The fee of no shop, the own and a third party's, at a moment."""
        held = {fee.shop: fee.fee for fee in self.table if fee.holds(now_ms)}
        return 0.0, held.get("own", 0.0), held.get("third_party", 0.0)


class Terms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is added for the shop of a product, or of that pinned in a room, and for the type of a room's host."""

    own_shop: Lean
    third_party: Lean
    merchant: Lean
    kol: Lean
    celebrity: Lean
