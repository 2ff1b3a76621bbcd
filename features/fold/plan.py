"""A FeatureSet as kernels read it: of every column what it is and where it stands."""

from typing import NamedTuple

from features.types import DoubleArray, RowArray

(
    ITEM_NUMBER,
    ITEM_CATEGORY,
    ITEM_AGE,
    USER_NUMBER,
    USER_CATEGORY,
    USER_AGE,
    CONTEXT,
    RATE,
    COUNT,
    RECENCY,
    COSINE,
    PRODUCT,
    LENGTH,
    TASTE,
) = range(14)


class Plan(NamedTuple):
    """A FeatureSet against a Layout, as arrays; (d,) each.

    op is one of the codes above; a the column, the slot of the action or the recency; b the slot of ``per``, or the
    row of a category in ``View.codes``; of the entity or N_ENTITIES + pair whose row, beside the item's kind, decides
    the value (the user's where no item does); base_a, base_b the same slots of the kind's row; life the index of the
    half-life; fading the number of the column's (of, life) among those that occur, so that what fades alike is faded
    once.
    """

    op: RowArray
    a: RowArray
    b: RowArray
    of: RowArray
    base_a: RowArray
    base_b: RowArray
    life: RowArray
    fading: RowArray
    prior: DoubleArray
