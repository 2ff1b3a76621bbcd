"""From when and until when something holds: off a millisecond before, on at the moment itself."""

from datetime import UTC, datetime, timedelta
from math import inf
from typing import Annotated

import msgspec

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class Dated(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What holds ``from`` a moment ``until`` another, that one not included; without them, always."""

    begins: Moment | None = msgspec.field(default=None, name="from")
    until: Moment | None = None

    def __post_init__(self) -> None:
        if self.begins and self.until and self.begins >= self.until:
            # A ValueError, which msgspec tells with the table that it stands in; the key comes first.
            raise ValueError(f"until: it ends at {self.until}, before it begins")

    def holds(self, now_ms: int) -> bool:
        """Whether it holds at a moment."""
        begun = self.begins is None or milliseconds(self.begins) <= now_ms
        return begun and (self.until is None or now_ms < milliseconds(self.until))

    @property
    def span(self) -> tuple[float, float]:
        """The millisecond from which it holds and that from which it holds no more; infinite where none is given."""
        begins = -inf if self.begins is None else milliseconds(self.begins)
        return begins, inf if self.until is None else milliseconds(self.until)


def milliseconds(moment: datetime) -> int:
    """Whole milliseconds since 1970 UTC, exactly."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)
