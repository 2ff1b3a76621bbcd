"""What a person is not shown again for a while, and in which order that gives way when there is nothing else."""

from functools import cached_property
from typing import Annotated, Literal

import msgspec

from features.errors import FeatureError, PolicyError
from features.layout import half_life_ms

Suppressed = Literal["seen", "bought", "session"]


class Suppress(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """The policy's ``[suppress]``, as in ``ranking.candidates.suppression``.

    Raises
    ------
    PolicyError
        If a window is no duration, or the order names one twice.
    """

    session: str
    seen: str
    bought: str
    gives_way: Annotated[tuple[Suppressed, ...], msgspec.Meta(max_length=3)]

    def __post_init__(self) -> None:
        for key in ("session", "seen", "bought"):
            try:
                half_life_ms(getattr(self, key))
            except FeatureError as error:
                what = f"suppress.{key}: {getattr(self, key)!r} is not a duration."
                raise PolicyError(what, 'Write it as "90s", "30m" or "1h".', key=f"suppress.{key}") from error
        if len(set(self.gives_way)) < len(self.gives_way):
            raise PolicyError(
                "suppress.gives_way names one twice.", "Name each once, what gives way first first.",
                key="suppress.gives_way",
            )  # fmt: skip

    @cached_property
    def windows_ms(self) -> tuple[int, int, int]:
        """Milliseconds: the pause that ends a session, and for how long what was seen and what was bought is kept."""
        return half_life_ms(self.session), half_life_ms(self.seen), half_life_ms(self.bought)
