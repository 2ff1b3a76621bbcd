"""How far the numbers of vectors reach, where a few that are longer than all others are not to count.

A byte says the less of a number the farther its range reaches: one vector a thousand times as long as others would
leave these a quarter of one value. So ranges hold what nearly all vectors have, and what does not fit is kept apart
from what is kept as bytes: see ``ranking.index.lists``.
"""

import numpy as np

from features.types import DoubleArray, FloatArray

LOOKED_AT = 1 << 14
"""So many vectors, or fewer than twice as many, are looked at to find ranges."""
EDGE = 0.01
"""The quantile of a number that its range is measured by, from either end."""
REACH = 2.0
"""A range reaches at least so many times as far from the median as that quantile does."""
BEYOND = 0.25
"""It ends so much of what a number spans outside of that, if that is nearer."""
LONGER = 1.5
"""A vector fits that is at most so many times as long as nearly all are."""
OUT = 1 / 128
"""Of the vectors looked at at most about so many are left out of ranges, and as many again for their length."""
_MOST = float(np.finfo(np.float32).max) / 4


def ranges_of(vectors: FloatArray) -> FloatArray:
    """Ranges (2 · dims + 1,) float32 that hold all but a few of some vectors (n, dims), however long these few are.

    A number's range reaches from the median twice as far as its outer percentiles do, to either side. Where more than
    ``OUT`` of the vectors would not fit, all ranges are widened alike until they do; none goes much beyond what is
    there. Longer than half as long again as all but ``OUT`` may none be: it would be found in lists that were not
    visited for others.
    """
    some = vectors[:: max(1, len(vectors) // LOOKED_AT)].astype(np.float64)
    low, middle, high = np.quantile(some, [EDGE, 0.5, 1 - EDGE], axis=0)
    least, most = some.min(axis=0), some.max(axis=0)
    # A number that is nearly always the same reaches as far as it ever does.
    below = np.where(middle > low, middle - low, middle - least)
    above = np.where(high > middle, high - middle, most - middle)
    apart = some - middle
    with np.errstate(divide="ignore", invalid="ignore"):
        far = np.where(apart == 0, 0, np.where(apart > 0, apart / above, -apart / below)).max(axis=1)
    wide, spare = max(REACH, _all_but_few(far)), BEYOND * (most - least)
    start = np.clip(np.maximum(middle - wide * below, least - spare), -_MOST, _MOST)
    end = np.clip(np.minimum(middle + wide * above, most + spare), -_MOST, _MOST)
    longest = min(LONGER * _all_but_few(np.linalg.norm(some, axis=1)), _MOST)
    return np.concatenate([start, end - start, [longest]]).astype(np.float32)


def _all_but_few(numbers: DoubleArray) -> float:
    return float(np.quantile(numbers, 1 - OUT, method="higher"))
