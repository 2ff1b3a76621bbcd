"""How much of what people see sells something, and how much goes to the largest hosts."""

from typing import Annotated

import msgspec


class Commerce(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The share of a day's slots that shall sell, held by a term for what does.

    Commerce is a product, or a room in which a product is pinned. With C of N slots served this day on ``surfaces`` the
    term is ``most`` times ``(target * N - C) / response``, from -1 to 1. A ``most`` of 0 leaves the share to itself.
    """

    target: Annotated[float, msgspec.Meta(ge=0, le=1)]
    most: Annotated[float, msgspec.Meta(ge=0, le=20)]
    response: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
    surfaces: tuple[str, ...]

    def term(self, slots: int, selling: int) -> float:
        """What is added for commerce after so many slots of the day, so many of them selling."""
        return self.most * min(max((self.target * slots - selling) / self.response, -1.0), 1.0)


class HeadHosts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A head host has at least this share of all impressions, counted so that they halve every week."""

    share: Annotated[float, msgspec.Meta(gt=0, le=1)]
