"""A FeatureSet: what the engine computes of a user, an item and a moment, declared rather than coded.

The declaration fixes two things: the ``Layout`` of the feature state (which decayed counters are kept of what) and the
columns of a feature row, in order. It is plain data: it travels as JSON in a bundle and has a fingerprint.
"""

import hashlib
from functools import cached_property

import msgspec

from features.columns import Category, Column, Count, Feature, Length, Rate, Recency, Taste, check, is_category
from features.errors import FeatureError
from features.layout import (
    ACTION_CODE,
    ENTITIES,
    EVENT_NUMBERS,
    ITEM_CATEGORIES,
    ITEM_NUMBERS,
    PAIRS,
    USER_CATEGORIES,
    Layout,
    Slots,
    half_life_ms,
)

TRENDING_HALF_LIFE = "1h"
TRENDING_ACTIONS = ("impression", "click", "complete", "long_view", "like", "order")
EVIDENCE_HALF_LIFE = "7d"
EVIDENCE_ACTIONS = ("impression", "complete")
EVIDENCE_OF = ("item", "author", "brand", "category", "kind")
TASTED = ("author", "category", "kind", *PAIRS)
TASTE_ACTIONS = ("click", "impression")
"""What a person's taste is told by: of these, counted so."""
QUALITY_HALF_LIFE = "7d"
QUALITY_ACTIONS = ("order", "refund", "complaint")
QUALITY_OF = ("item", "merchant", "kind")


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
            check(column)
        lives = {column.half_life for column in self.columns if isinstance(column, Taste)}
        if len(lives) > 1:
            raise FeatureError(
                f"Tastes are counted over {' and '.join(sorted(lives))}.", "Declare one: a page reads one."
            )

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
                case Taste(half_life=half_life):
                    for of in TASTED:
                        counters[of] |= {(action, half_life) for action in TASTE_ACTIONS}
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
