"""Quality floors: what buyers sent back or complained of sinks, and beyond a point is not shown."""

from typing import Annotated, Literal

import msgspec

Share = Annotated[float, msgspec.Meta(gt=0, le=4)]


class Floor(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A rate per order, of products or of their merchants, and what it costs.

    ``after_sales`` counts refunds and complaints together. The rate is ``(a + prior * base) / (orders + prior)`` of
    counts that halve every week, ``base`` that of all products; what was never ordered has none. From ``demote_from``
    on the value loses, evenly up to ``demote`` at ``block_from``; from there on the item is not shown. An order counts
    for the product, its merchant and the room or video it was given in.
    """

    rate: Literal["refund", "complaint", "after_sales"]
    of: Literal["item", "merchant"]
    demote_from: Share
    block_from: Share | None = None
    demote: Annotated[float, msgspec.Meta(ge=0, le=8)] = 1.0
    prior: Annotated[float, msgspec.Meta(gt=0, le=1e6)] = 20.0

    def __post_init__(self) -> None:
        if self.block_from is not None and self.block_from <= self.demote_from:
            raise ValueError(f"block_from: {self.block_from} is not above demote_from = {self.demote_from}")
