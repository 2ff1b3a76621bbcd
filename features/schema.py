"""A FeatureSet: what the engine computes of a user, an item and a moment, declared rather than coded.

The declaration fixes two things: the ``Layout`` of the feature state (which decayed counters are kept of what) and the
columns of a feature row, in order. It is plain data: it travels as JSON in a bundle and has a fingerprint.
"""

import difflib
import hashlib
import re
from collections.abc import Iterable
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
CONTEXT_CATEGORIES = ("surface", "device", "city_tier")
CONTEXT_NUMBERS = ("hour", "weekday", "position")

FACTORS = ("item.factors", "author.factors", "category.factors")
MAX_CODES = 254
"""Values of a category that keep a code of their own; all others are code 0."""

_UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def half_life_ms(text: str) -> int:
    """Milliseconds of a half-life such as "10m", "1h" or "7d"."""
    found = re.fullmatch(r"([1-9]\d{0,4})([smhd])", text)
    if not found:
        raise FeatureError(f"{text!r} is not a half-life.", 'Write it as "10m", "1h" or "7d".')
    return int(found[1]) * _UNIT_MS[found[2]]


class Column(msgspec.Struct, frozen=True, tag="column"):
    """A number of the item's or the user's row, such as ``item.price``; NaN where it is not known."""

    source: str

    @property
    def name(self) -> str:
        """The column's name in a training table."""
        return self.source


class Category(msgspec.Struct, frozen=True, tag="category"):
    """A category of the item or the user, such as ``item.category``, as a code; 0 is unseen or rare."""

    source: str

    @property
    def name(self) -> str:
        """The column's name in a training table."""
        return self.source


class Age(msgspec.Struct, frozen=True, tag="age"):
    """Seconds since a time of the item or the user, such as ``item.live_from_ms``; NaN where it is not known."""

    source: str

    @property
    def name(self) -> str:
        """The column's name in a training table."""
        return f"age({self.source})"


class InContext(msgspec.Struct, frozen=True, tag="context"):
    """Something of the request: hour, weekday and position are numbers; surface, device and city_tier codes."""

    source: str

    @property
    def name(self) -> str:
        """The column's name in a training table."""
        return f"context.{self.source}"


class Rate(msgspec.Struct, frozen=True, tag="rate"):
    """``(a + prior·base) / (b + prior)`` of decayed counts a of ``action`` and b of ``per``.

    ``base`` is the same rate over all items of the kind, of the same half-life, as of the same moment, so that
    nothing fitted later leaks in.
    """

    of: str
    action: str
    per: str = "impression"
    half_life: str = "7d"
    prior: float = 20.0

    def __post_init__(self) -> None:
        # 20 and 20.0 must have one fingerprint.
        msgspec.structs.force_setattr(self, "prior", float(self.prior))

    @property
    def name(self) -> str:
        """The column's name in a training table."""
        return f"{self.of}.{self.action}/{self.per}@{self.half_life}"


class Count(msgspec.Struct, frozen=True, tag="count"):
    """The decayed count of an action."""

    of: str
    action: str
    half_life: str = "7d"

    @property
    def name(self) -> str:
        """The column's name in a training table."""
        return f"{self.of}.{self.action}@{self.half_life}"


class Recency(msgspec.Struct, frozen=True, tag="recency"):
    """Seconds since the last event of an action; NaN before the first."""

    of: str
    action: str

    @property
    def name(self) -> str:
        """The column's name in a training table."""
        return f"since({self.of}.{self.action})"


class Cosine(msgspec.Struct, frozen=True, tag="cosine"):
    """Cosine of the person's vector, folded in from the ring of recent items, and one of the item's; NaN without."""

    left: str
    right: str

    @property
    def name(self) -> str:
        """The column's name in a training table."""
        return f"cosine({self.left},{self.right})"


class Product(msgspec.Struct, frozen=True, tag="product"):
    """Inner product of the person's unit vector with one of the item's, whose length counts; NaN without."""

    left: str
    right: str

    @property
    def name(self) -> str:
        """The column's name in a training table."""
        return f"product({self.left},{self.right})"


class Length(msgspec.Struct, frozen=True, tag="length"):
    """Length of one of the item's vectors, which knows how much it was liked; 0 without."""

    of: str

    @property
    def name(self) -> str:
        """The column's name in a training table."""
        return f"length({self.of})"


Feature = Column | Category | Age | InContext | Rate | Count | Recency | Cosine | Product | Length


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


def _known(kind: str, name: str, names: Iterable[str], place: str) -> None:
    known = sorted(names)
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Known are {', '.join(known)}."
        raise FeatureError(f"{place}: unknown {kind} {name!r}.", hint)


class FeatureSet(msgspec.Struct, frozen=True, dict=True):
    """The declared features, in column order.

    Parameters
    ----------
    columns : tuple of Feature
        At least one, names all different.
    utc_offset_ms : int
        What is added to UTC to get the clock that ``hour`` and ``weekday`` read (default: China, +8 h).

    Raises
    ------
    FeatureError
        If a column names an unknown entity, action, context or half-life; the message names the nearest known.
    """

    columns: tuple[Feature, ...]
    utc_offset_ms: int = 8 * 3_600_000

    def __post_init__(self) -> None:
        if not self.columns:
            raise FeatureError("A FeatureSet has no columns.", "Declare at least one.")
        if len(set(self.names)) < len(self.columns):
            twice = next(name for name in self.names if self.names.count(name) > 1)
            raise FeatureError(f"Two columns are called {twice!r}.", "Take one out.")
        for column in self.columns:
            _check(column)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the columns, in order."""
        return tuple(column.name for column in self.columns)

    @property
    def categorical(self) -> tuple[int, ...]:
        """The positions of columns that hold codes."""
        return tuple(i for i, column in enumerate(self.columns) if is_category(column))

    @property
    def still(self) -> tuple[int, ...]:
        """The positions of columns that change only with an item's catalog row: not by people, events or time."""
        return tuple(
            i
            for i, column in enumerate(self.columns)
            if isinstance(column, Length)
            or (
                isinstance(column, Column | Category)
                and column.source.startswith("item.")
                and column.source.removeprefix("item.") not in EVENT_NUMBERS
            )
        )

    @cached_property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:12]

    @cached_property
    def layout(self) -> Layout:
        """What the feature state must keep for these columns, in a canonical order."""
        counters: dict[str, set[tuple[str, str]]] = {of: set() for of in ENTITIES + PAIRS}
        recencies: dict[str, set[str]] = {of: set() for of in ENTITIES + PAIRS}
        for column in self.columns:
            match column:
                case Rate(of=of, action=action, per=per, half_life=half_life):
                    pair = {(action, half_life), (per, half_life)}
                    counters[of] |= pair
                    counters["kind"] |= pair
                case Count(of=of, action=action, half_life=half_life):
                    counters[of].add((action, half_life))
                case Recency(of=of, action=action):
                    recencies[of].add(action)
        # What charts read of every item, newcomers are judged by and policies go by, whatever the columns are.
        counters["item"] |= {(action, TRENDING_HALF_LIFE) for action in TRENDING_ACTIONS}
        for of in EVIDENCE_OF:
            counters[of] |= {(action, EVIDENCE_HALF_LIFE) for action in EVIDENCE_ACTIONS}
        for of in QUALITY_OF:
            counters[of] |= {(action, QUALITY_HALF_LIFE) for action in QUALITY_ACTIONS}
        lives = sorted({half_life_ms(life) for pairs in counters.values() for _, life in pairs})
        return Layout(
            half_lives_ms=tuple(lives),
            slots=tuple(
                Slots(
                    tuple(sorted((ACTION_CODE[a], lives.index(half_life_ms(life))) for a, life in counters[of])),
                    tuple(sorted(ACTION_CODE[a] for a in recencies[of])),
                )
                for of in ENTITIES + PAIRS
            ),
            item_categories=ITEM_CATEGORIES + self._attributes("item", Category, ITEM_CATEGORIES),
            item_numbers=ITEM_NUMBERS + self._attributes("item", Column, ITEM_NUMBERS),
            user_categories=USER_CATEGORIES + self._attributes("user", Category, USER_CATEGORIES),
            user_numbers=self._attributes("user", Column, ()),
        )

    def _attributes(self, entity: str, form: type[Column | Category], built_in: tuple[str, ...]) -> tuple[str, ...]:
        named = {
            c.source.partition(".")[2] for c in self.columns if isinstance(c, form) and c.source.startswith(entity)
        }
        return tuple(sorted(named - set(built_in)))


TRENDING_HALF_LIFE = "1h"
TRENDING_ACTIONS = ("impression", "click", "complete", "long_view", "like", "order")
EVIDENCE_HALF_LIFE = "7d"
EVIDENCE_ACTIONS = ("impression", "complete")
EVIDENCE_OF = ("item", "author", "brand", "category", "kind")
QUALITY_HALF_LIFE = "7d"
QUALITY_ACTIONS = ("order", "refund", "complaint")
QUALITY_OF = ("item", "merchant", "kind")


def is_category(column: Feature) -> bool:
    """Whether a column holds codes."""
    return isinstance(column, Category) or (isinstance(column, InContext) and column.source in CONTEXT_CATEGORIES)


def _check(column: Feature) -> None:
    place = f"feature {column.name!r}"
    match column:
        case Column(source=source) | Category(source=source):
            entity, dot, name = source.partition(".")
            _known("entity", entity, ("item", "user"), place)
            if not dot or not name:
                raise FeatureError(f"{place}: {source!r} names no field.", 'Write it as "item.price".')
        case Age(source=source):
            _known("time", source, [f"item.{t}" for t in ITEM_TIMES] + [f"user.{t}" for t in USER_TIMES], place)
        case InContext(source=source):
            _known("context", source, CONTEXT_CATEGORIES + CONTEXT_NUMBERS, place)
        case Rate(of=of, action=action, per=per, half_life=half_life, prior=prior):
            _known("entity", of, ENTITIES + PAIRS, place)
            _known("action", action, ACTIONS, place)
            _known("action", per, ACTIONS, place)
            half_life_ms(half_life)
            if not 0 < prior < 1e9:
                raise FeatureError(f"{place}: prior {prior} is not positive.", "A prior of 20 impressions is usual.")
        case Count(of=of, action=action, half_life=half_life):
            _known("entity", of, ENTITIES + PAIRS, place)
            _known("action", action, ACTIONS, place)
            half_life_ms(half_life)
        case Recency(of=of, action=action):
            _known("entity", of, ENTITIES + PAIRS, place)
            _known("action", action, ACTIONS, place)
        case Cosine(left=left, right=right) | Product(left=left, right=right):
            _known("vector", left, ("user.factors",), place)
            _known("vector", right, FACTORS, place)
        case Length(of=of):
            _known("vector", of, FACTORS, place)
