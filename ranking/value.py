"""The value of an item: one linear score over calibrated heads, the expectation of the gain that every metric uses."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from itertools import pairwise

import msgspec
import numpy as np
from numba import njit

from features.errors import PolicyError
from features.types import ByteArray, DoubleArray

ORDER = ("complete", "like", "comment", "share")
"""Completion counts more than like, like more than comment, comment more than share, share more than 0."""
MOST = 1e6
"""A weight, at most, so that values stay finite."""
NEGATIVE = frozenset({"hide", "report"})
"""Heads whose terms are subtracted."""


class Weights(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one standard deviation of each head is worth; all are given positive, those of ``NEGATIVE`` subtract.

    Raises
    ------
    PolicyError
        If a weight is below 0 or above ``MOST``, or ``complete > like > comment > share > 0`` does not hold.
    """

    complete: float = 4.0
    like: float = 3.0
    comment: float = 2.0
    share: float = 1.0
    click: float = 0.0
    long_view: float = 0.0
    follow: float = 0.0
    gift: float = 0.0
    cart: float = 0.0
    order: float = 0.0
    hide: float = 1.0
    report: float = 1.0

    def __post_init__(self) -> None:
        for head in self.__struct_fields__:
            if not 0 <= getattr(self, head) <= MOST:
                way_out = f"Give 0 or more, at most {MOST:,.0f}; those of hide and report are subtracted."
                raise PolicyError(f"weights.{head} is {getattr(self, head)}.", way_out, key=f"weights.{head}")
        for more, less in pairwise(ORDER):
            if not getattr(self, more) > getattr(self, less):
                what = f"weights.{less} = {getattr(self, less)} is not below weights.{more} = {getattr(self, more)}."
                raise PolicyError(what, "The order is complete > like > comment > share > 0.", key=f"weights.{less}")
        if self.share == 0:
            way_out = "The order is complete > like > comment > share > 0."
            raise PolicyError("weights.share is 0.", way_out, key="weights.share")

    def with_changes(self, changes: Mapping[str, float]) -> "Weights":
        """These weights with some replaced, checked as a whole.

        Raises
        ------
        PolicyError
            If a name is no head's, or the result breaks the order.
        """
        for head in changes:
            if head not in self.__struct_fields__:
                near = get_close_matches(head, self.__struct_fields__, 1)
                hint = f"Did you mean {near[0]!r}?" if near else f"Known are {', '.join(self.__struct_fields__)}."
                raise PolicyError(f"weights.{head} is unknown.", hint, key=f"weights.{head}")
        return msgspec.structs.replace(self, **changes)

    def signed(self, heads: Sequence[str]) -> DoubleArray:
        """The weights of heads (H,), below 0 for those that subtract; 0 for a head that has none."""
        signs = [-1.0 if head in NEGATIVE else 1.0 for head in heads]
        return np.array([sign * getattr(self, head, 0.0) for sign, head in zip(signs, heads, strict=True)], np.float64)


def scales(base_rates: DoubleArray) -> DoubleArray:
    """One over the standard deviation of each head, ``1/√(π(1−π))``.

    Parameters
    ----------
    base_rates : DoubleArray
        π (H, 4) by head and code of kind; 0 or NaN where a kind does not have the head.

    Returns
    -------
    DoubleArray
        (H, 4); 0 where the head cannot tell items apart: π is 0, 1 or NaN.
    """
    variance = base_rates * (1.0 - base_rates)
    usable = variance > 0
    return np.where(usable, 1.0 / np.sqrt(np.where(usable, variance, 1.0)), 0.0)


def value_terms(
    probabilities: DoubleArray, heads: Sequence[str], kinds: ByteArray, scale: DoubleArray, weights: Weights
) -> DoubleArray:
    """What each head adds to each item's value: ``±w_t · s_t · p_t``.

    Parameters
    ----------
    probabilities : DoubleArray
        Calibrated p (n, H) in the order of ``heads``; or outcomes y, which makes the value the gain.
    kinds : ByteArray
        Code of each item's kind (n,).
    scale : DoubleArray
        (H, 4), see ``scales``.

    Returns
    -------
    DoubleArray
        (n, H); 0 where a kind does not have the head, whatever its probability says.
    """
    probabilities = np.asarray(probabilities, np.float64)
    return worth(probabilities, kinds, weights_by_kind(heads, scale, weights), probabilities[:, :0])[0]


def weights_by_kind(heads: Sequence[str], scale: DoubleArray, weights: Weights) -> DoubleArray:
    """``±w_t · s_t`` (H, 4) by head and code of kind, of scales (H, 4)."""
    return scale * weights.signed(heads)[:, None]


def value_of(terms: DoubleArray) -> DoubleArray:
    """The sum (n,) of terms (n, H), added from left to right: the same bits for one item as for many."""
    return _sum_rows(np.ascontiguousarray(terms))


def gain(
    outcomes: DoubleArray, heads: Sequence[str], kinds: ByteArray, scale: DoubleArray, weights: Weights
) -> DoubleArray:
    """What was got (n,): the value with outcomes y (n, H) of 0 or 1 for probabilities."""
    return value_of(value_terms(outcomes, heads, kinds, scale, weights))


def plain_gain(outcomes: DoubleArray, heads: Sequence[str], weights: Weights) -> DoubleArray:
    """``Σ ±w·y`` (n,), without scales: printed beside the gain, never decided by."""
    return value_of(outcomes * weights.signed(heads))


@njit(nogil=True, cache=True)
def worth(
    probabilities: DoubleArray, kinds: ByteArray, factors: DoubleArray, more: DoubleArray
) -> tuple[DoubleArray, DoubleArray]:
    """The terms (n, H + T) of items, those of heads as ``value_terms`` has them before ``more`` (n, T); and their sum.

    Parameters
    ----------
    probabilities : DoubleArray
        Calibrated p (n, H).
    kinds : ByteArray
        Code of each item's kind (n,).
    factors : DoubleArray
        (H, 4), see ``weights_by_kind``.
    more : DoubleArray
        What is added beside heads (n, T).

    Returns
    -------
    terms : DoubleArray
        (n, H + T).
    value : DoubleArray
        (n,), as ``value_of`` has it.
    """
    n, heads = probabilities.shape
    terms = np.empty((n, heads + more.shape[1]), np.float64)
    for i in range(n):
        for head in range(heads):
            factor = factors[head, kinds[i]]
            # Not a plain product: a head that a kind does not have may be NaN there, and -0.0 is odd to report.
            terms[i, head] = 0.0 if factor == 0 else factor * probabilities[i, head] + 0.0
        for j in range(more.shape[1]):
            terms[i, heads + j] = more[i, j]
    return terms, _sum_rows(terms)


@njit(nogil=True, cache=True)
def _sum_rows(terms: DoubleArray) -> DoubleArray:
    out = np.zeros(terms.shape[0], np.float64)
    for i in range(terms.shape[0]):
        for j in range(terms.shape[1]):
            out[i] += terms[i, j]
    return out
