"""What is left to chance: how often, where on the page, and among whom slots are drawn by lot."""

from functools import cached_property
from typing import Annotated

import msgspec

from features.errors import FeatureError, PolicyError
from features.layout import half_life_ms

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Slot = Annotated[int, msgspec.Meta(ge=0, lt=200)]


class Explore(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """The policy's ``[explore]``, as in ``ranking.mixing.exploration``.

    Raises
    ------
    PolicyError
        If ``age`` or ``brand_age`` is no duration, or slots are not in order and different.
    """

    rate: Share
    slots: Annotated[tuple[Slot, ...], msgspec.Meta(max_length=20)]
    epsilon: Share
    draws: Annotated[int, msgspec.Meta(ge=1, le=1000)]
    pool: Annotated[int, msgspec.Meta(ge=1, le=1000)]
    age: str
    brand_age: str
    enough: Annotated[float, msgspec.Meta(gt=0)]
    prior: Annotated[float, msgspec.Meta(gt=0, le=1e6)]

    def __post_init__(self) -> None:
        if list(self.slots) != sorted(set(self.slots)):
            what = f"explore.slots is {list(self.slots)}."
            raise PolicyError(what, "Name each slot once, in their order.", key="explore.slots")
        for name in ("age", "brand_age"):
            given = getattr(self, name)
            try:
                half_life_ms(given)
            except FeatureError as error:
                what = f"explore.{name}: {given!r} is not a duration."
                raise PolicyError(what, 'Write it as "24h".', key=f"explore.{name}") from error

    @cached_property
    def age_ms(self) -> int:
        """Milliseconds for which an item is new."""
        return half_life_ms(self.age)

    @cached_property
    def brand_age_ms(self) -> int:
        """Milliseconds for which a product is new whose brand is hardly known."""
        return half_life_ms(self.brand_age)
