"""Vectors of taste: what training learns of items, authors, categories and words, and how a new item gets a vector.

An item that training knew has a vector of its own; any other is the sum of its author's, its category's, its words',
its given embedding's and its known products' parts. It is a function of the item's record and the factors alone,
whenever it is computed.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numba import njit

from features.errors import FeatureError
from features.grams import BUCKETS, hashed
from features.ids import Ids
from features.layout import USER_CATEGORIES
from features.records import Item, Kind
from features.types import FloatArray, RowArray

NO_BUCKETS, NO_WEIGHTS = np.zeros(0, np.int32), np.zeros(0, np.float32)
TASTE_DIMS = 16
"""Fifteen numbers that are multiplied, and a constant: how often a person clicks at all."""
COUNTED = ("author", "category")
NAMED = (*COUNTED, *USER_CATEGORIES)
"""The columns whose names have vectors."""


@dataclass(frozen=True, slots=True)
class Words:
    """Hashed character n-grams of texts, as compressed sparse rows: text i holds indptr[i] <= j < indptr[i + 1]."""

    indptr: RowArray
    indices: RowArray
    weights: FloatArray


def words_of(items: Sequence[Item]) -> Words:
    """The hashed character n-grams (1 to 3) of each item's title and category; rows of unit length.

    A gram's bucket and sign are those of its CRC-32, so they are the same everywhere and for one item as for many.
    """
    texts = [f"{item.title} {item.category}".lower().encode() for item in items]
    ends = np.cumsum([0, *map(len, texts)])
    return Words(*hashed(np.frombuffer(b"".join(texts), np.uint8), ends))


def embeddings_of(items: Sequence[Item], size: int) -> Words:
    """The embeddings given with items, of unit length, in the form of their words; rows of another size are empty."""
    found = [item.embedding if len(item.embedding) == size else () for item in items]
    indptr = np.zeros(len(found) + 1, np.int32)
    np.cumsum([len(embedding) for embedding in found], out=indptr[1:])
    indices = np.concatenate([NO_BUCKETS, *(np.arange(len(embedding), dtype=np.int32) for embedding in found)])
    given = [unit(np.array([embedding], np.float32))[0] for embedding in found if embedding]
    return Words(indptr, indices, np.concatenate([NO_WEIGHTS, *given]))


def version_of(parts: Iterable[tuple[Sequence[str], FloatArray]]) -> str:
    """Twelve hexadecimal digits over names and matrices."""
    digest = hashlib.sha256()
    for names, matrix in parts:
        digest.update("\0".join(names).encode())
        digest.update(np.ascontiguousarray(matrix).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()[:12]


@dataclass(frozen=True)
class Factors:
    """What one fit learned; all matrices float32 with ``dims`` columns, one row a name; row r of ``item_ids`` is r - 1.

    ``items`` are whole vectors; ``authors``, ``categories``, ``products`` and ``words`` (BUCKETS rows) are the parts
    that sum to the vector of an item that is not in ``items``. ``given`` has a row for each number of an embedding
    that comes with an item, None where none came; an embedding of another length says nothing. ``directions`` says
    that lengths mean nothing and every vector is read with length 1, as those of bundles of format 1 were learned.
    ``carts`` says that a new room is also what it sells; ``tastes`` are what people like beyond what others do, where
    they were fitted.
    """

    item_ids: Ids
    items: FloatArray
    author_ids: tuple[str, ...]
    authors: FloatArray
    category_ids: tuple[str, ...]
    categories: FloatArray
    words: FloatArray
    directions: bool = False
    carts: bool = True
    tastes: "Tastes | None" = None
    given: FloatArray | None = None

    def __post_init__(self) -> None:
        """Refuse names that are not those of the rows: an item that is named twice, or not at all, among them."""
        if self.given is not None and self.given.shape[1:] != (self.dims,):
            raise FeatureError(f"Factors of given embeddings are {self.given.shape}.", "Train the bundle anew.")
        named = (len(self.item_ids) - 1, self.items), (len(self.author_ids), self.authors)
        for names, matrix in (*named, (len(self.category_ids), self.categories), (BUCKETS, self.words)):
            if matrix.shape != (names, self.dims):
                raise FeatureError(
                    f"Factors of {names} names have a matrix of {matrix.shape}.", "Train the bundle anew."
                )

    @property
    def dims(self) -> int:
        """How long a vector is."""
        return int(self.words.shape[1])

    @cached_property
    def version(self) -> str:
        """Twelve hexadecimal digits over all that is learned."""
        return version_of([*self.parts, *(self.tastes.parts if self.tastes else ())])

    @property
    def item_names(self) -> tuple[str, ...]:
        """The ids of items in the order of their rows, made anew with every call."""
        return tuple(self.item_ids.names[1:])

    @property
    def parts(self) -> Iterator[tuple[Sequence[str], FloatArray]]:
        """All that was learned: names and what is learned of them."""
        yield self.item_names, self.items
        yield self.author_ids, self.authors
        yield self.category_ids, self.categories
        yield (), self.words
        if self.given is not None:
            yield (), self.given

    @classmethod
    def empty(cls, dims: int = 8) -> "Factors":
        """Factors that know nothing: every vector is zero."""
        none = np.zeros((0, dims), np.float32)
        return cls(Ids(), none, (), none, (), none, np.zeros((BUCKETS, dims), np.float32))

    @cached_property
    def _rows(self) -> tuple[dict[str, int], dict[str, int]]:
        authors, categories = (
            {name: row for row, name in enumerate(one)} for one in (self.author_ids, self.category_ids)
        )
        return authors, categories

    def vectors_of(self, items: Sequence[Item]) -> FloatArray:
        """Vectors (n, dims) float32 of items, of the lengths they have, if any; zeros where nothing is known."""
        own = self.item_ids.find_all([item.item_id for item in items])
        known, new = np.flatnonzero(own > 0), np.flatnonzero(own == 0)
        out = np.zeros((len(items), self.dims), np.float32)
        # Ids have rows from 1 on, their vectors from 0.
        out[known] = self.items[own[known] - 1]
        out[new] = self._summed([items[row] for row in new.tolist()])
        return unit(out) if self.directions else out

    def _summed(self, items: Sequence[Item]) -> FloatArray:
        """The sums (n, dims) of the parts of items that training did not know."""
        out = np.zeros((len(items), self.dims), np.float32)
        if items:
            words = words_of(items)
            _sum_words(words.indptr, words.indices, words.weights, self.words, out)
        if self.given is not None:
            embeddings = embeddings_of(items, len(self.given))
            _sum_words(embeddings.indptr, embeddings.indices, embeddings.weights, self.given, out)
        authors, categories = self._rows
        for row, item in enumerate(items):
            if (author := authors.get(item.author_id)) is not None:
                out[row] += self.authors[author]
            if (category := categories.get(item.category)) is not None:
                out[row] += self.categories[category]
            if self.carts and item.kind is Kind.ROOM and item.products:
                sold = self.item_ids.find_all(item.products)
                for product in sold[sold > 0].tolist():
                    out[row] += self.items[product - 1] / np.float32((sold > 0).sum())
        return out

    def authors_of(self, names: Sequence[str]) -> FloatArray:
        """Unit vectors (n, dims) of authors; zeros for unknown ones."""
        return self._named(self._rows[0], self.authors, names)

    def categories_of(self, names: Sequence[str]) -> FloatArray:
        """Unit vectors (n, dims) of categories; zeros for unknown ones."""
        return self._named(self._rows[1], self.categories, names)

    def _named(self, rows: dict[str, int], matrix: FloatArray, names: Sequence[str]) -> FloatArray:
        out = np.zeros((len(names), self.dims), np.float32)
        for i, name in enumerate(names):
            if (row := rows.get(name)) is not None:
                out[i] = matrix[row]
        return unit(out)


def unit(vectors: FloatArray) -> FloatArray:
    """The vectors (n, dims) with length 1; zeros stay zeros."""
    out = np.ascontiguousarray(vectors, np.float32).copy()
    _normalise(out)
    return out


@dataclass(frozen=True)
class Tastes:
    """What one fit learned; all matrices float32 with ``TASTE_DIMS`` columns.

    ``of_items`` gives items their vectors. ``vectors`` has a matrix for each column of ``NAMED``, a row for each of its
    ``names``: of authors and categories what they showed, in the mean; of the others what such people like beyond what
    people do. ``precision`` (TASTE_DIMS,) says how near people are to that.
    """

    of_items: Factors
    names: dict[str, tuple[str, ...]]
    vectors: dict[str, FloatArray]
    precision: FloatArray

    def __post_init__(self) -> None:
        """Refuse names that are not those of the rows."""
        rows = {column: (len(self.names.get(column, ())), TASTE_DIMS) for column in NAMED}
        found = {column: matrix.shape for column, matrix in self.vectors.items()}
        if found != rows or self.precision.shape != (TASTE_DIMS,) or self.of_items.dims != TASTE_DIMS:
            raise FeatureError(f"Tastes of {rows} have matrices of {found}.", "Train the bundle anew.")

    @classmethod
    def empty(cls) -> "Tastes":
        """Tastes that know nothing: everybody likes what others do."""
        vectors = {column: np.zeros((0, TASTE_DIMS), np.float32) for column in NAMED}
        return cls(Factors.empty(TASTE_DIMS), dict.fromkeys(NAMED, ()), vectors, np.ones(TASTE_DIMS, np.float32))

    @cached_property
    def _rows(self) -> dict[str, dict[str, int]]:
        return {column: {name: row for row, name in enumerate(names)} for column, names in self.names.items()}

    def of(self, column: str, names: Sequence[str]) -> FloatArray:
        """The vectors (n, TASTE_DIMS) of names of a column; zeros for unknown ones."""
        known, matrix = self._rows[column], self.vectors[column]
        out = np.zeros((len(names), TASTE_DIMS), np.float32)
        for row, name in enumerate(names):
            if (at := known.get(name)) is not None:
                out[row] = matrix[at]
        return out

    @property
    def parts(self) -> Iterator[tuple[Sequence[str], FloatArray]]:
        """All that was learned: names and what is learned of them."""
        yield from self.of_items.parts
        for column in NAMED:
            yield self.names[column], self.vectors[column]
        yield (), self.precision


@njit(nogil=True, cache=True)
def _sum_words(indptr: RowArray, indices: RowArray, weights: FloatArray, words: FloatArray, out: FloatArray) -> None:
    for i in range(out.shape[0]):
        for j in range(indptr[i], indptr[i + 1]):
            for k in range(out.shape[1]):
                out[i, k] += weights[j] * words[indices[j], k]


@njit(nogil=True, cache=True)
def _normalise(matrix: FloatArray) -> None:
    for i in range(matrix.shape[0]):
        size = 0.0
        for k in range(matrix.shape[1]):
            size += matrix[i, k] * matrix[i, k]
        if size > 0:
            scale = 1.0 / np.sqrt(size)
            for k in range(matrix.shape[1]):
                matrix[i, k] = matrix[i, k] * scale
