"""What a feature state keeps of what: which actions are counted, of which entities, over which half-lives."""

import hashlib
import re
from functools import cached_property
from typing import NamedTuple

import msgspec

from features.errors import FeatureError
from features.records import Action

ACTIONS: tuple[str, ...] = (*(str(action) for action in Action), "complete", "long_view")
"""All that a counter can count; the last two are derived from ``watch`` by the fold. The order is the code."""
ACTION_CODE: dict[str, int] = {name: code for code, name in enumerate(ACTIONS)}

ENTITIES: tuple[str, ...] = ("user", "item", "author", "merchant", "brand", "category", "kind")
"""What has a row of counters; the order is the code. ``kind`` holds the base rate of all items of one kind."""
PAIRS: tuple[str, ...] = ("user*author", "user*category")
"""What is counted inside the user's row."""

ITEM_CATEGORIES = ("author", "merchant", "brand", "category", "kind", "shop", "room_type")
ITEM_NUMBERS = ("price", "stock", "duration_ms", "viewers")
EVENT_NUMBERS = ("viewers",)
"""Numbers of an item that events write."""
ITEM_TIMES = ("live_from_ms", "started_ms")
USER_CATEGORIES = ("age_band", "gender", "city_tier")
USER_TIMES = ("registered_ms",)

_UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def half_life_ms(text: str) -> int:
    """Milliseconds of a half-life such as "10m", "1h" or "7d"."""
    found = re.fullmatch(r"([1-9]\d{0,4})([smhd])", text)
    if not found:
        raise FeatureError(f"{text!r} is not a half-life.", 'Write it as "10m", "1h" or "7d".')
    return int(found[1]) * _UNIT_MS[found[2]]


class Slots(NamedTuple):
    """The counters one entity's row keeps: (action, half-life index) each, and the actions whose last time it keeps."""

    counters: tuple[tuple[int, int], ...]
    recencies: tuple[int, ...]


class Layout(msgspec.Struct, frozen=True, dict=True):
    """What a feature state keeps; two FeatureSets with one layout can share a state.

    ``slots`` stand in the order of ``ENTITIES`` then ``PAIRS``; the names of columns in the order of storage.
    """

    half_lives_ms: tuple[int, ...]
    slots: tuple[Slots, ...]
    item_categories: tuple[str, ...]
    item_numbers: tuple[str, ...]
    user_categories: tuple[str, ...]
    user_numbers: tuple[str, ...]

    @cached_property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:12]

    def slot(self, of: str, action: str, half_life: str) -> int:
        """Where a counter stands in the rows of ``of``."""
        wanted = ACTION_CODE[action], self.half_lives_ms.index(half_life_ms(half_life))
        return self.slots[(ENTITIES + PAIRS).index(of)].counters.index(wanted)

    def recency(self, of: str, action: str) -> int:
        """Where a last time stands in the rows of ``of``."""
        return self.slots[(ENTITIES + PAIRS).index(of)].recencies.index(ACTION_CODE[action])
