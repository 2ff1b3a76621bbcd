"""What the platform leans towards, as bounded terms of the value: fees by shop and date, shops, hosts."""

from typing import Annotated

import msgspec

from features.errors import PolicyError
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

    Raises
    ------
    PolicyError
        If an entry never takes effect, as later ones of its shop hold whenever it would.
    """

    weight: Lean
    table: Annotated[tuple[Fee, ...], msgspec.Meta(max_length=1000)]

    def __post_init__(self) -> None:
        for at, fee in enumerate(self.table):
            later = [other.span for other in self.table[at + 1 :] if other.shop == fee.shop]
            if _covered(fee.span, later):
                key = f"fees.table[{at}]"
                what = f"{key}: it never takes effect, as the last that is written holds, and later ones of {fee.shop}"
                way_out = "Write what always holds first and what is dated after it, or take the entry out."
                raise PolicyError(f"{what} hold whenever it would.", way_out, key=key)

    def rates(self, now_ms: int) -> tuple[float, float, float]:
        """The fee of no shop, the own and a third party's, at a moment."""
        held = {fee.shop: fee.fee for fee in self.table if fee.holds(now_ms)}
        return 0.0, held.get("own", 0.0), held.get("third_party", 0.0)


def _covered(span: tuple[float, float], others: list[tuple[float, float]]) -> bool:
    """Whether some spans together leave nothing of one."""
    at, until = span
    for begins, ends in sorted(others):
        if begins <= at < ends:
            at = ends
    return at >= until


class Terms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is added for the shop of a product, or of that pinned in a room, and for the type of a room's host."""

    own_shop: Lean
    third_party: Lean
    merchant: Lean
    kol: Lean
    celebrity: Lean
