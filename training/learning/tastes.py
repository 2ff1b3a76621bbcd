"""Tastes: what a person answers otherwise than others do, as a product of two vectors, day d from what came before it.

Every impression that was looked at says something, one without a click as well. An item's vector is near what its
author, its category and its words say, a person's near what age, gender and city say, the nearer the less is known.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.sparse import csr_matrix
from scipy.special import logit
from scipy.stats import rankdata
from threadpoolctl import threadpool_limits

from features.factors import COUNTED, TASTE_DIMS, Factors, Tastes, words_of
from features.grams import BUCKETS
from features.ids import Ids
from features.layout import USER_CATEGORIES
from features.outcomes import KIND_CODES
from features.records import Item, User
from features.types import BoolArray, DoubleArray, FloatArray, IntArray
from training.learning.answers import Answers
from training.learning.bilinear import Cells, Side, Slope, update

LEAST_SHOWN = 1_000
"""Impressions that were looked at; from fewer nothing is learned."""
SWEEPS = 16
"""More find a little more of the taste of a simulated world (docs/log.md)."""
SETTLED = 6
"""Sweeps after which it is learned how much people differ, and how watches follow tastes."""
SHARE = 0.25
"""Of an item's vector, what author, category, words and the item itself each explain before anything is known."""
ITEM_VARIANCE, PERSON_VARIANCE = 0.3, 0.25
"""Of the log-odds of items and people as such."""
WORD_STEPS = 10


def fit_tastes(
    answers: Answers, catalog: Mapping[str, Item], people: Mapping[str, User], before_ms: int, seed: int
) -> Tastes:
    """Tastes from what was received before a time; those that know nothing where that is too little.

    They are the same to the bit whatever ``answers`` hold of later; catalog and people must hold nothing of it.
    """
    known = np.flatnonzero(answers.looked_ms < before_ms)
    described = np.array([name in catalog for name in answers.items])
    known = known[described[answers.item[known]]]
    if len(known) < LEAST_SHOWN:
        return Tastes.empty()
    clicked, read = answers.clicked_ms[known] < before_ms, answers.watched_ms[known] < before_ms
    # By name, since the order of codes is that of the whole history.
    user_names, user = _named(answers.users, answers.user[known])
    item_names, item = _named(answers.items, answers.item[known])
    with threadpool_limits(1):
        model = _Model([catalog[name] for name in item_names], [people.get(name) for name in user_names], seed)
        model.learn(user, item, clicked, np.where(read, answers.watch[known], -1))
        return model.tastes(item)


def _named(names: Sequence[str], codes: IntArray) -> tuple[list[str], IntArray]:
    """The names that codes stand for, sorted, and the place of each code's among them."""
    held, place = np.unique(codes, return_inverse=True)
    held_names = [names[code] for code in held.tolist()]
    order = sorted(range(len(held_names)), key=held_names.__getitem__)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return [held_names[at] for at in order], rank[place]


class _Model:
    """Vectors of items and people and what explains them; all (n, TASTE_DIMS), the last number a constant."""

    def __init__(self, items: Sequence[Item], people: Sequence[User | None], seed: int) -> None:
        rng = np.random.default_rng(seed)
        self._items = items
        written = words_of(items)
        self._words = csr_matrix(
            (written.weights.astype(np.float64), written.indices, written.indptr), (len(items), BUCKETS)
        )
        self._authors, self._author = _coded([item.author_id for item in items])
        self._categories, self._category = _coded([item.category for item in items])
        self._of_author = _drawn(rng, len(self._authors))
        self._of_category = _drawn(rng, len(self._categories))
        self._of_words = np.zeros((BUCKETS, TASTE_DIMS))
        self._traits = [_coded([_trait(person, name) for person in people]) for name in USER_CATEGORIES]
        self._of_traits = [np.zeros((len(names), TASTE_DIMS)) for names, _ in self._traits]
        self._precision = np.full(TASTE_DIMS, TASTE_DIMS - 1.0)
        self._precision[-1] = 1 / PERSON_VARIANCE
        prior = self._explained()
        self._item = Side(prior.copy(), np.full_like(prior, SHARE))
        self._person = Side(np.zeros((len(people), TASTE_DIMS)), np.full((len(people), TASTE_DIMS), 1 / TASTE_DIMS))

    def learn(self, user: IntArray, item: IntArray, clicked: BoolArray, watch: IntArray) -> None:
        """People from items, items from people, and both sides' priors, ``SWEEPS`` times.

        ``watch`` (n,) are ms, -1 where none is known.
        """
        shape = len(self._person.mean), len(self._items)
        read = watch >= 0
        reading = self._readings(item, clicked, watch)
        said = (clicked.astype(np.float64), read.astype(np.float64), reading)
        by_user, by_item = Cells.of(user, item, said, shape), Cells.of(item, user, said, shape[::-1])
        constant = float(logit((clicked.sum() + 1) / (len(clicked) + 2)))
        slope = Slope(0.0, 0.0)
        of_item = np.full(TASTE_DIMS, 1 / SHARE)
        of_item[-1] = 1 / ITEM_VARIANCE
        for sweep in range(SWEEPS):
            update(by_user, self._person, self._item, constant, slope, True, self._expected(), self._precision)
            self._explain_people(sweep >= SETTLED)
            update(by_item, self._item, self._person, constant, slope, False, self._explained(), of_item)
            self._explain_items()
            if sweep >= SETTLED:
                slope = self._slope(user[read], item[read], reading[read])

    def _readings(self, item: IntArray, clicked: BoolArray, watch: IntArray) -> DoubleArray:
        """How long (n,) a watch is beside those of its kind and duration with the same click: a share, less a half."""
        kind = np.array([KIND_CODES[one.kind] for one in self._items])[item]
        duration = np.array([one.duration_ms for one in self._items])[item]
        octave = np.where(duration > 0, np.log2(np.maximum(duration, 1)).astype(np.int64), 0)
        group = np.where(watch >= 0, (octave * 8 + kind) * 2 + clicked, -1)
        out = np.zeros(len(watch))
        for one in np.unique(group[group >= 0]).tolist():
            rows = np.flatnonzero(group == one)
            out[rows] = (rankdata(watch[rows]) - 0.5) / len(rows) - 0.5
        return out

    def _slope(self, user: IntArray, item: IntArray, reading: DoubleArray) -> Slope:
        """By least squares, of what is thought of people and items now."""
        mine, its = self._person.mean[user], self._item.mean[item]
        odds = np.einsum("nk,nk->n", mine[:, :-1], its[:, :-1]) + its[:, -1]
        odds -= odds.mean()
        slope = float(odds @ reading / max(float(odds @ odds), 1e-9))
        return Slope(slope, 1 / max(float(np.var(reading - slope * odds)), 1e-3))

    def tastes(self, item: IntArray) -> Tastes:
        """What was learned, for reading; ``item`` are the places of what was shown."""
        vectors = self._item.mean.copy()
        # How often an item is clicked by all is for counters to say; of what somebody was shown each has a constant.
        vectors[:, -1] = 0.0
        shown = np.bincount(item, minlength=len(vectors)).astype(np.float64)
        named = {"author": (self._authors, self._author), "category": (self._categories, self._category)}
        names = {column: named[column][0][1:] for column in COUNTED}
        means = {column: _mean(vectors, shown, codes, len(held)) for column, (held, codes) in named.items()}
        for column, (held, codes), learned in zip(USER_CATEGORIES, self._traits, self._of_traits, strict=True):
            count = np.bincount(codes, minlength=len(held))[1:, None]
            names[column] = held[1:]
            means[column] = (learned[1:] - (learned[1:] * count).sum(0) / max(count.sum(), 1)).astype(np.float32)
        of_items = Factors(
            item_ids=Ids(one.item_id for one in self._items),
            items=vectors.astype(np.float32),
            author_ids=self._authors[1:],
            authors=_whole(self._of_author),
            category_ids=self._categories[1:],
            categories=_whole(self._of_category),
            words=_whole(self._of_words, 0),
            carts=False,
        )
        return Tastes(of_items, names, means, self._precision.astype(np.float32))

    def _explained(self) -> DoubleArray:
        """What is expected of items (n, k)."""
        return self._of_author[self._author] + self._of_category[self._category] + self._words @ self._of_words

    def _expected(self) -> DoubleArray:
        """What is expected of people (n, k)."""
        expected = np.zeros_like(self._person.mean)
        for (_, codes), learned in zip(self._traits, self._of_traits, strict=True):
            expected += learned[codes]
        return expected

    def _explain_people(self, settled: bool) -> None:
        """Traits from people, and how far people are from what traits say."""
        mean, variance = self._person
        free = slice(0, TASTE_DIMS - 1)
        for (names, codes), learned in zip(self._traits, self._of_traits, strict=True):
            rest = mean - (self._expected() - learned[codes])
            held = np.bincount(codes, minlength=len(names)).astype(np.float64)
            for k in range(TASTE_DIMS - 1):
                # A trait explains, before anything is known, a tenth of what people differ by.
                learned[:, k] = np.bincount(codes, rest[:, k], len(names)) / (held + 6.0)
            learned[0] = 0.0
        if not settled:
            return
        apart = (mean - self._expected())[:, free]
        spread = float((apart * apart + variance[:, free]).mean())
        self._precision[free] = 1 / max(spread, 1e-4)

    def _explain_items(self) -> None:
        """Authors, categories and words from items; what is hardly known lies where it was expected and adds little."""
        mean = self._item.mean
        for learned, codes in ((self._of_author, self._author), (self._of_category, self._category)):
            rest = mean - (self._explained() - learned[codes])
            held = np.bincount(codes, minlength=len(learned))
            for k in range(TASTE_DIMS - 1):
                learned[:, k] = np.bincount(codes, rest[:, k], len(learned)) / (held + 1.0)
            learned[0] = 0.0
        rest = mean - (self._explained() - self._words @ self._of_words)
        rest[:, -1] = 0.0
        self._of_words = _ridge(self._words, rest, self._of_words)


def _ridge(x: "csr_matrix[np.float64]", y: DoubleArray, start: DoubleArray) -> DoubleArray:
    """Steps of conjugate gradients from ``start`` to what minimises ``Σ (y − x·w)² + |w|²``, by column."""

    def applied(w: DoubleArray) -> DoubleArray:
        product: DoubleArray = x.T @ (x @ w) + w
        return product

    at = start.copy()
    left = x.T @ y - applied(at)
    along, size = left.copy(), (left * left).sum(0)
    for _ in range(WORD_STEPS):
        towards = applied(along)
        step = size / np.maximum((along * towards).sum(0), 1e-30)
        at += step * along
        left -= step * towards
        size, before = (left * left).sum(0), size
        along = left + size / np.maximum(before, 1e-30) * along
    return at


def _drawn(rng: np.random.Generator, count: int) -> DoubleArray:
    """Vectors to begin with, of what nothing is known yet; row 0 has no name."""
    drawn = rng.normal(0, np.sqrt(SHARE), (count, TASTE_DIMS))
    drawn[0] = drawn[:, -1] = 0.0
    return drawn


def _trait(person: User | None, name: str) -> str:
    value: str = getattr(person, name) if person else ""
    return value


def _coded(values: Sequence[str]) -> tuple[tuple[str, ...], IntArray]:
    names = ("", *sorted({*values} - {""}))
    codes = {name: code for code, name in enumerate(names)}
    return names, np.array([codes[value] for value in values], np.int64)


def _mean(vectors: DoubleArray, weight: DoubleArray, codes: IntArray, count: int) -> FloatArray:
    """The mean vector of what each name (but the first) showed."""
    held = np.maximum(np.bincount(codes, weight, count), 1e-9)
    sums = np.stack([np.bincount(codes, weight * column, count) for column in vectors.T], axis=1)
    mean: FloatArray = (sums / held[:, None])[1:].astype(np.float32)
    mean[:, -1] = 1.0
    return mean


def _whole(learned: DoubleArray, first: int = 1) -> FloatArray:
    part: FloatArray = learned[first:].astype(np.float32)
    return part
