"""What a column of a feature row may be: plain data, that travels as JSON."""

import difflib
from collections.abc import Iterable

import msgspec

from features.errors import FeatureError
from features.layout import ACTIONS, ENTITIES, ITEM_TIMES, PAIRS, USER_TIMES, half_life_ms

CONTEXT_CATEGORIES = ("surface", "device", "city_tier")
CONTEXT_NUMBERS = ("hour", "weekday", "position")

FACTORS = ("item.factors", "author.factors", "category.factors")
MAX_CODES = 254
"""Values of a category that keep a code of their own; all others are code 0."""


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


class Taste(msgspec.Struct, frozen=True, tag="taste"):
    """By how much the log-odds that the person clicks the item are expected to be above everybody's; 0 of nobody.

    What hosts and categories showed the person, and what of it they clicked, is counted over ``half_life``.
    """

    half_life: str = "7d"

    @property
    def name(self) -> str:
        """The column's name in a training table."""
        return f"taste@{self.half_life}"


Feature = Column | Category | Age | InContext | Rate | Count | Recency | Cosine | Product | Length | Taste


def is_category(column: Feature) -> bool:
    """Whether a column holds codes."""
    return isinstance(column, Category) or (isinstance(column, InContext) and column.source in CONTEXT_CATEGORIES)


def is_static(column: Feature) -> bool:
    """Whether a column is of the catalog, the person's row or the request alone: nothing counted, nothing learned."""
    return isinstance(column, Column | Category | Age | InContext)


def _known(kind: str, name: str, names: Iterable[str], place: str) -> None:
    known = sorted(names)
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Known are {', '.join(known)}."
        raise FeatureError(f"{place}: unknown {kind} {name!r}.", hint)


def check(column: Feature) -> None:
    """Refuse a column that names what does not exist.

    Raises
    ------
    FeatureError
        Naming the column and the nearest that is known.
    """
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
        case Taste(half_life=half_life):
            half_life_ms(half_life)
