"""Reading the state: a FeatureSet, its codes and its factors, compiled against a layout once and read many times."""

from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from features.columns import (
    CONTEXT_CATEGORIES,
    CONTEXT_NUMBERS,
    FACTORS,
    Age,
    Category,
    Column,
    Cosine,
    Count,
    Feature,
    InContext,
    Length,
    Product,
    Rate,
    Recency,
    Taste,
    is_category,
)
from features.errors import FeatureError
from features.factors import Factors, Tastes
from features.fold.arrays import ITEM, Words
from features.fold.assemble import COSINE_OF, Asked, Vectors, View, assemble, context_row, user_taste, user_vector
from features.fold.native import native_view
from features.fold.plan import (
    CONTEXT,
    COSINE,
    COUNT,
    ITEM_AGE,
    ITEM_CATEGORY,
    ITEM_NUMBER,
    LENGTH,
    PRODUCT,
    RATE,
    RECENCY,
    TASTE,
    USER_AGE,
    USER_CATEGORY,
    USER_NUMBER,
    Plan,
)
from features.fold.storage import aligned
from features.fold.stretch import Stretch
from features.layout import ENTITIES, ITEM_TIMES, PAIRS, USER_TIMES, Layout, half_life_ms
from features.records import Context
from features.schema import FeatureSet
from features.state import FeatureState
from features.taste_rows import TasteRows
from features.types import FloatArray, IntArray, RowArray

CHUNK = 10_000
"""Items that are read at a time: all of a large catalog would not fit beside its rows."""


class Codes(msgspec.Struct, frozen=True):
    """The values that keep a code of their own, by column name: the first has code 1; all others are 0."""

    values: dict[str, tuple[str, ...]]


class Reader:
    """Feature rows of a state, bit for bit the same in replay and in serving.

    Parameters
    ----------
    feature_set : FeatureSet
    codes : Codes
        Must name every categorical column of the feature set.
    factors : Factors
    """

    def __init__(self, feature_set: FeatureSet, codes: Codes, factors: Factors) -> None:
        missing = [c.name for c in feature_set.columns if is_category(c) and c.name not in codes.values]
        if missing:
            raise FeatureError(f"The codes do not name column {missing[0]!r}.", "Train anew with this FeatureSet.")
        self.feature_set = feature_set
        self.codes = codes
        self.factors = factors
        self._codes = {name: {v: i for i, v in enumerate(values, 1)} for name, values in codes.values.items()}
        self._plan = compile_plan(feature_set, feature_set.layout)
        self._all = np.arange(len(feature_set.columns))
        self.begin(None)

    def begin(self, state: FeatureState | None) -> None:
        """Forget what was taken in: it was of another state. Of this one ``catch_up`` takes in the rows it names."""
        self._of = state
        self._edition = -1
        self._named = {"author": 0, "category": 0}
        self._coded = [0] * len(self.feature_set.columns)
        self._stretches = tuple(Stretch[FloatArray]((self.factors.dims,), np.float32) for _ in Vectors._fields)
        table = np.zeros((max(len(self.feature_set.categorical), 1), 64), np.float32)
        self._tastes = TasteRows(self.feature_set, self.factors.tastes or Tastes.empty())
        vectors = Vectors._make(one.reserve(1) for one in self._stretches)
        self._view = View(self._plan, table, vectors, self._tastes.view)
        self._native = native_view(self._view)

    @property
    def basis(self) -> RowArray:
        """The entity or pair (d,) whose row, beside the item's kind, decides each column; as ``Plan.of``."""
        return self._plan.of

    @property
    def native(self) -> View:
        """What kernels read of it, as of the last ``catch_up``."""
        return self._native

    @property
    def vectors(self) -> Vectors:
        """Vectors by row of item, author and category, as of the last ``catch_up``."""
        return self._view.vectors

    def catch_up(self, state: FeatureState, rows: RowArray) -> None:
        """Take in what the state has learned of names and of the catalog rows ``rows``.

        A state that it did not read before is taken in whole.
        """
        if self._of is not state:
            self.begin(state)
            rows = state.described()
        if not len(rows) and self._edition == state.edition:
            return
        self._edition = state.edition
        before = self._view
        item = self._stretches[0].reserve(len(state.items))
        for some in np.array_split(rows, 1 + len(rows) // CHUNK):
            known = [(row, found) for row in some.tolist() if (found := state.item(row))]
            if known:
                item[[row for row, _ in known]] = self.factors.vectors_of([found for _, found in known])
            self._tastes.catch_up(state, known)
        author = self._learn("author", 1, state, self.factors.authors_of)
        category = self._learn("category", 2, state, self.factors.categories_of)
        view = View(before.plan, self._coded_names(state), Vectors(item, author, category), self._tastes.view)
        if view.tastes is not before.tastes or any(
            new is not old
            for new, old in zip((view.codes, *view.vectors), (before.codes, *before.vectors), strict=True)
        ):
            self._view, self._native = view, native_view(view)

    def _learn(
        self, column: str, place: int, state: FeatureState, vectors_of: Callable[[Sequence[str]], FloatArray]
    ) -> FloatArray:
        names, done = state.columns[column].names, self._named[column]
        matrix = self._stretches[place].reserve(len(names))
        if done < len(names):
            matrix[done : len(names)] = vectors_of(names[done:])
            self._named[column] = len(names)
        return matrix

    def _coded_names(self, state: FeatureState) -> FloatArray:
        codes, plan = self._view.codes, self._view.plan
        for j, column in enumerate(self.feature_set.columns):
            if isinstance(column, Category):
                entity, _, name = column.source.partition(".")
                names = (state.columns if entity == "item" else state.user_columns)[name].names
                done, self._coded[j] = self._coded[j], len(names)
                if done < len(names):
                    codes = _grown(codes.T, len(names)).T if len(names) > codes.shape[1] else codes
                    known = self._codes[column.name]
                    codes[plan.b[j], done : len(names)] = [known.get(value, 0) for value in names[done:]]
        return codes

    def user_vector(self, state: FeatureState, user: int, now_ms: int) -> FloatArray:
        """The person's unit vector (dims,) float32 at a time; zeros where nothing is known."""
        out = np.zeros(self.factors.dims, np.float32)
        user_vector(state.native, self._native, user, now_ms, out)
        return out

    @property
    def tastes(self) -> FloatArray:
        """Vectors (items, k) of what items are to tastes, by row, as of the last ``catch_up``."""
        return self._view.tastes.item

    def user_taste(self, state: FeatureState, user: int, now_ms: int) -> FloatArray:
        """The vector (k,) float32 of a person's taste at a time; zeros of nobody."""
        out = np.zeros(self.tastes.shape[1], np.float32)
        user_taste(state.native, self._native, user, now_ms, out)
        return out

    def rows(
        self,
        state: FeatureState,
        user: int,
        items: RowArray,
        now_ms: int,
        context: Context,
        columns: IntArray | None = None,
    ) -> FloatArray:
        """Feature rows (n, d) float32, Fortran order, of items for one person, as of the state's offset and ``now_ms``.

        Where ``columns`` name some features, the others are NaN.
        """
        wide = len(self.feature_set.columns)
        out = np.empty((wide, len(items)), np.float32)
        if columns is None:
            columns = self._all
        elif len(columns) < wide:
            out.fill(np.nan)
        assemble(*self.asked(state, user, now_ms, context), items, columns, out)
        return out.T

    def asked(self, state: FeatureState, user: int, now_ms: int, context: Context) -> Asked:
        """Of whom kernels read columns, and when; nobody may fold before they are done."""
        city_tier = context.city_tier or state.user_columns["city_tier"].names[state.arrays.users.categories[user, 2]]
        codes = (
            self._context_code("surface", context.surface),
            self._context_code("device", context.device),
            self._context_code("city_tier", city_tier),
        )
        numbers = context_row(now_ms, self.feature_set.utc_offset_ms, context.position, codes)
        return Asked(state.native, state.native_slots, self._native, numbers, user, now_ms)

    def words(self, state: FeatureState, words: Sequence[str]) -> Words:
        """The codes of words, and of the city tiers that the state names."""
        columns, tiers = ("surface", "device", "city_tier"), state.user_columns["city_tier"].names
        return Words(
            np.array([[self._context_code(column, word) for word in words] for column in columns], np.float64),
            np.array([self._context_code("city_tier", tier) for tier in tiers], np.float64),
            self.feature_set.utc_offset_ms,
        )

    def _context_code(self, name: str, value: str) -> float:
        return float(self._codes.get(f"context.{name}", {}).get(value, 0))


def _grown(matrix: FloatArray, rows: int) -> FloatArray:
    if rows <= len(matrix):
        return matrix
    # Twice as much takes no memory before it is used, and spares the next name a copy of all.
    grown = aligned(2 * rows, matrix.shape[1])
    grown[: len(matrix)] = matrix
    return grown


def compile_plan(feature_set: FeatureSet, layout: Layout) -> Plan:
    """A FeatureSet against a layout that keeps at least what it needs."""
    rows = [_operation(column, layout) for column in feature_set.columns]
    for row, j in enumerate(feature_set.categorical):
        rows[j] = (*rows[j][:2], row, *rows[j][3:])
    columns = list(zip(*rows, strict=True))
    op, a, b, of, base_a, base_b, life = (np.array(column, np.int32) for column in columns[:7])
    fading = np.unique(of * len(layout.half_lives_ms) + life, return_inverse=True)[1].astype(np.int32)
    return Plan(op, a, b, of, base_a, base_b, life, fading, np.array(columns[7], np.float64))


def _operation(column: Feature, layout: Layout) -> tuple[int, int, int, int, int, int, int, float]:
    entities = ENTITIES + PAIRS
    match column:
        case Column(source=source) | Category(source=source) | Age(source=source):
            return _stored(column, source, layout)
        case InContext(source=source):
            return CONTEXT, (CONTEXT_NUMBERS + CONTEXT_CATEGORIES).index(source), 0, 0, 0, 0, 0, 0.0
        case Rate(of=of, action=action, per=per, half_life=half_life, prior=prior):
            a, b = layout.slot(of, action, half_life), layout.slot(of, per, half_life)
            base_a, base_b = layout.slot("kind", action, half_life), layout.slot("kind", per, half_life)
            life = layout.half_lives_ms.index(half_life_ms(half_life))
            return RATE, a, b, entities.index(of), base_a, base_b, life, prior
        case Count(of=of, action=action, half_life=half_life):
            life = layout.half_lives_ms.index(half_life_ms(half_life))
            return COUNT, layout.slot(of, action, half_life), 0, entities.index(of), 0, 0, life, 0.0
        case Recency(of=of, action=action):
            return RECENCY, layout.recency(of, action), 0, entities.index(of), 0, 0, 0, 0.0
        case Taste():
            return TASTE, 0, 0, ITEM, 0, 0, 0, 0.0
        case Cosine(right=of) | Product(right=of) | Length(of=of):
            op = COSINE if isinstance(column, Cosine) else PRODUCT if isinstance(column, Product) else LENGTH
            return op, FACTORS.index(of), 0, COSINE_OF[FACTORS.index(of)], 0, 0, 0, 0.0


def _stored(column: Feature, source: str, layout: Layout) -> tuple[int, int, int, int, int, int, int, float]:
    entity, _, name = source.partition(".")
    of_item = entity == "item"
    match column:
        case Category():
            op = ITEM_CATEGORY if of_item else USER_CATEGORY
            place = (layout.item_categories if of_item else layout.user_categories).index(name)
        case Age():
            op = ITEM_AGE if of_item else USER_AGE
            place = (ITEM_TIMES if of_item else USER_TIMES).index(name)
        case _:
            op = ITEM_NUMBER if of_item else USER_NUMBER
            place = (layout.item_numbers if of_item else layout.user_numbers).index(name)
    return op, place, 0, 1 if of_item else 0, 0, 0, 0, 0.0
