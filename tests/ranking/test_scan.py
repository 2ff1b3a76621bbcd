"""The rows that two masks share: all of them where they are few, and told where they are not."""

import numpy as np
import pytest

from ranking.scan import count_both, few_of_both, rows_of_both

SHARES = (0.0, 0.01, 0.3, 1.0)


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 1000])
@pytest.mark.parametrize("share", SHARES)
def test_few_rows_are_all_that_two_masks_share_and_many_are_told_from_them(size: int, share: float) -> None:
    rng = np.random.default_rng(size)
    held, allowed = rng.random(size) < 0.9, rng.random(size + 70) < share
    true = np.flatnonzero(held & allowed[:size])
    assert count_both(held, allowed) == len(true)
    assert rows_of_both(held, allowed, len(true)).tolist() == true.tolist()
    for most in (len(true), len(true) + 1, size):
        assert few_of_both(held, allowed, most).tolist() == true.tolist()
    for most in range(len(true)):
        assert len(few_of_both(held, allowed, most)) > most
