"""Re-ranking: from an order by value to one whose neighbours differ, by greedy choice, one slot after the other.

Both methods weigh the same two things. Relevance ``z`` is the value standardised over what is re-ranked, so that values
below 0 are as good as any. Similarity is ``s_ij = (1 + <v_i, v_j>) / 2`` of unit vectors, ``s_ii = 1``: from 0 for
opposite vectors to 1 for equal ones, 1/2 where an item has no vector; positive semidefinite as a sum of two such.
``theta`` in [0, 1) trades one for the other; towards 1 the order is that of value.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numba import njit

from features.errors import PolicyError, RequestError
from features.factors import unit
from features.types import DoubleArray, FloatArray, IntArray
from ranking.mixing.mixer import best_first
from ranking.policy import Rerank
from ranking.types import Query, Reranker, Scored

LEAST_GAIN = 1e-4
"""An item with so little of its own beside those chosen (of 1) has nothing to add: less is rounding, or a twin."""


class Greedy(Protocol):
    """A greedy choice: ``dpp`` or ``mmr``."""

    def __call__(
        self, value: DoubleArray, vectors: FloatArray, count: int, theta: float, window: int | None = None
    ) -> IntArray:
        """Positions (n,), the chosen first."""
        ...


@dataclass(frozen=True, slots=True)
class ByValue:
    """The order by value."""

    def order(self, query: Query, scored: Scored) -> IntArray:
        """Positions (n,), highest value first, ties by item row, NaN last."""
        return best_first(scored.value, scored.batch.rows)


@dataclass(frozen=True, slots=True)
class Diverse:
    """The best ``depth`` by value in an order whose neighbours differ; the rest behind them by value.

    So many slots are chosen as two pages hold: the second is for what bounds and last checks take away.
    """

    choose: Greedy
    theta: float
    window: int | None
    depth: int

    def order(self, query: Query, scored: Scored) -> IntArray:
        """Positions (n,), each once."""
        order = best_first(scored.value, scored.batch.rows)
        known = len(order) - int(np.isnan(scored.value).sum())
        head = order[: min(self.depth, known)]
        vectors = unit(scored.batch.vectors[head])
        chosen = self.choose(scored.value[head], vectors, 2 * query.count, self.theta, self.window)
        return np.concatenate([head[chosen], order[len(head) :]])


def dpp(value: DoubleArray, vectors: FloatArray, count: int, theta: float, window: int | None = None) -> IntArray:
    """Greedy maximum a posteriori of a determinantal point process with the kernel ``L_ij = q_i s_ij q_j``.

    ``q_i = exp(theta / (1 - theta) * (z_i - max z) / 2)``: each slot takes the item that raises
    ``theta * sum z + (1 - theta) * log det S`` of the chosen most. After Chen, Zhang and Zhou, "Fast Greedy MAP
    Inference for Determinantal Point Process to Improve Recommendation Diversity" (NeurIPS 2018): a Cholesky factor
    grows by a row a slot, and where a window is full its first row is rotated out; O(count * n * (dims + window)).

    Parameters
    ----------
    value : DoubleArray
        (n,) float64, finite.
    vectors : FloatArray
        (n, dims) float32, unit or zero.
    count : int
        Slots to choose for.
    theta : float
        In [0, 1).
    window : int, optional
        Only the last so many chosen count, at least 1; by default all of them.

    Returns
    -------
    IntArray
        Positions (n,), each once: the chosen, then the others as they came. Ties go to the first position. Where no
        item has a gain left (each is as one chosen, or worth nothing beside the best) choosing ends.

    Raises
    ------
    RequestError
        If a number is not finite or shapes do not fit.
    PolicyError
        If ``theta`` or ``window`` is out of its range.
    """
    z = standardised(value, vectors, theta, window)
    quality = np.exp(theta / (1 - theta) * (z - z.max(initial=-np.inf)))
    return _dpp(quality, np.ascontiguousarray(vectors.T, np.float32), max(0, min(count, len(z))), window or len(z))


def mmr(value: DoubleArray, vectors: FloatArray, count: int, theta: float, window: int | None = None) -> IntArray:
    """Maximal marginal relevance: each slot takes the most of ``theta * z_i - (1 - theta) * max_j s_ij``.

    ``j`` runs over the last ``window`` chosen. After Carbonell and Goldstein, "The Use of MMR, Diversity-Based
    Reranking" (SIGIR 1998); O(count * n * (dims + window)). Parameters, result and errors are those of ``dpp``.
    """
    z = standardised(value, vectors, theta, window)
    columns = np.ascontiguousarray(vectors.T, np.float32)
    return _mmr(theta * z, 1 - theta, columns, max(0, min(count, len(z))), window or len(z))


METHODS: dict[str, Greedy] = {"dpp": dpp, "mmr": mmr}


def reranker_of(rule: Rerank) -> Reranker:
    """What a policy asks for."""
    if rule.method == "none":
        return ByValue()
    return Diverse(METHODS[rule.method], rule.theta, rule.window or None, rule.depth)


def standardised(value: DoubleArray, vectors: FloatArray, theta: float, window: int | None) -> DoubleArray:
    """Value (n,) less its mean, in units of its standard deviation, once the arguments of ``dpp`` are in order."""
    if not 0 <= theta < 1:
        raise PolicyError(f"rerank.theta is {theta}.", 'Give 0 or more and less than 1; method = "none" is by value.')
    if window is not None and window < 1:
        raise PolicyError(f"rerank.window is {window}.", "Give at least 1.")
    if value.ndim != 1 or vectors.ndim != 2 or len(value) != len(vectors):
        raise RequestError(f"Values {value.shape} and vectors {vectors.shape} are not of the same items.")
    if not (np.isfinite(value).all() and np.isfinite(vectors).all()):
        raise RequestError("A value or a vector to re-rank is not finite.", "Leave such items out.")
    if not len(value):
        return value
    # Scaled first: sums of values near the largest float stay finite.
    scaled = value / max(float(np.abs(value).max()), 1e-300)
    spread = float(scaled.std())
    return (scaled - scaled.mean()) / spread if spread > 0 else np.zeros(len(value))


@njit(nogil=True, cache=True)
def _dpp(quality: DoubleArray, columns: FloatArray, count: int, window: int) -> IntArray:
    """Positions by greedy choice; ``columns`` (dims, n) are the vectors, transposed.

    ``factor`` (chosen, n) has a column for every candidate, those chosen among them, whose columns are the Cholesky
    factor of their similarities; ``own[i]`` is what item i has of its own beside them, ``d_i^2`` of the paper.
    """
    n = quality.shape[0]
    held = min(window, count)
    factor = np.empty((held, n), np.float64)
    members = np.empty(held, np.int64)
    own = np.ones(n, np.float64)
    worth = quality.copy()
    similar = np.empty(n, np.float32)
    order = np.empty(n, np.int64)
    size = slot = 0
    while slot < count:
        best = _best(worth, own)
        if best < 0:
            break
        order[slot] = best
        worth[best] = 0.0
        slot += 1
        if slot == count:
            break
        if size == held:
            _forget(factor, members, own)
            size -= 1
        _similarities(columns, best, similar)
        _add(factor, size, similar, best, own)
        members[size] = best
        size += 1
    _rest(order, slot)
    return order


@njit(nogil=True, cache=True)
def _best(worth: DoubleArray, own: DoubleArray) -> int:
    """The first of the largest gains; -1 where none is left."""
    best, most = -1, 0.0
    for i in range(worth.shape[0]):
        gain = worth[i] * own[i]
        if gain > most and own[i] > LEAST_GAIN:
            best, most = i, gain
    return best


@njit(nogil=True, cache=True)
def _add(factor: DoubleArray, size: int, similar: FloatArray, chosen: int, own: DoubleArray) -> None:
    """Grow the factor by the row of an item."""
    row = factor[size]
    row[:] = similar
    for held in range(size):
        above, weight = factor[held], factor[held, chosen]
        for i in range(row.shape[0]):
            row[i] -= weight * above[i]
    scale = 1.0 / np.sqrt(own[chosen])
    for i in range(row.shape[0]):
        row[i] *= scale
        own[i] -= row[i] * row[i]


@njit(nogil=True, cache=True)
def _forget(factor: DoubleArray, members: IntArray, own: DoubleArray) -> None:
    """Take the first item out: rotate its row into those below, which move up; what is left is theirs again."""
    gone = factor[0].copy()
    for below in range(1, members.shape[0]):
        row, out, member = factor[below], factor[below - 1], members[below]
        size = np.hypot(row[member], gone[member])
        cos, sin = row[member] / size, gone[member] / size
        for i in range(gone.shape[0]):
            kept, lost = row[i], gone[i]
            out[i] = cos * kept + sin * lost
            gone[i] = cos * lost - sin * kept
        members[below - 1] = member
    for i in range(gone.shape[0]):
        own[i] += gone[i] * gone[i]


@njit(nogil=True, cache=True)
def _mmr(worth: DoubleArray, penalty: float, columns: FloatArray, count: int, window: int) -> IntArray:
    n = worth.shape[0]
    held = min(window, count)
    similar = np.zeros((max(held, 1), n), np.float32)
    nearest = np.zeros(n, np.float32)
    free = np.ones(n, np.bool_)
    order = np.empty(n, np.int64)
    for slot in range(count):
        best, most = -1, -np.inf
        for i in range(n):
            gain = worth[i] - penalty * nearest[i]
            if free[i] and gain > most:
                best, most = i, gain
        order[slot] = best
        free[best] = False
        newest = slot % held
        _similarities(columns, best, similar[newest])
        if 0 < slot < held:
            # Nothing has left the window yet.
            _raise(nearest, similar[newest])
        else:
            nearest[:] = similar[0]
            for other in range(1, min(slot + 1, held)):
                _raise(nearest, similar[other])
    _rest(order, count)
    return order


@njit(nogil=True, cache=True)
def _raise(most: FloatArray, row: FloatArray) -> None:
    """Take the larger of two, place by place."""
    for i in range(most.shape[0]):
        most[i] = max(most[i], row[i])


@njit(nogil=True, cache=True)
def _similarities(columns: FloatArray, chosen: int, out: FloatArray) -> None:
    """Similarity of every item with one: summed a dimension after the other, so the same on every machine."""
    half = np.float32(0.5)
    out[:] = half
    # Four at a time: what is summed stays in a register meanwhile.
    fours = columns.shape[0] // 4 * 4
    for d in range(0, fours, 4):
        p, q, r, s = columns[d], columns[d + 1], columns[d + 2], columns[d + 3]
        of_p, of_q, of_r, of_s = half * p[chosen], half * q[chosen], half * r[chosen], half * s[chosen]
        for i in range(out.shape[0]):
            out[i] = out[i] + of_p * p[i] + of_q * q[i] + of_r * r[i] + of_s * s[i]
    for d in range(fours, columns.shape[0]):
        p = columns[d]
        of_p = half * p[chosen]
        for i in range(out.shape[0]):
            out[i] += of_p * p[i]
    out[chosen] = 1.0


@njit(nogil=True, cache=True)
def _rest(order: IntArray, placed: int) -> None:
    """Fill the order behind what was placed with the others, as they came."""
    there = np.zeros(order.shape[0], np.bool_)
    for slot in range(placed):
        there[order[slot]] = True
    for i in range(order.shape[0]):
        if not there[i]:
            order[placed] = i
            placed += 1
