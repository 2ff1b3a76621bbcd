"""The lookup of leaves against numpy, with a processor's wide registers and without."""

import hashlib
import os
import platform
import subprocess
import sys

import numpy as np
import pytest
from numba import njit

from features.types import DoubleArray, HashArray
from ranking.forest.leaves import ORDER, add_leaves

LANES, ROWS, LEAVES, FIRST = 8, 64, 256, 5


@njit(nogil=True)
def _add(planes: HashArray, blocks: int, wide: bool, leaves: DoubleArray, scores: DoubleArray) -> None:
    if wide:
        add_leaves(planes, blocks, 8, leaves, FIRST, scores, 0)
    else:
        add_leaves(planes, blocks, 6, leaves, FIRST, scores, 0)


def _added(blocks: int, *, wide: bool) -> tuple[DoubleArray, DoubleArray]:
    """The scores of some rows by the kernel, and as they should be."""
    rng = np.random.default_rng(blocks)
    number = rng.integers(0, 256 if wide else 64, (LANES, ROWS))
    leaves, before = rng.normal(size=FIRST + LEAVES), rng.normal(size=LANES * ROWS)
    bits = (number[None] >> np.arange(8)[:, None, None] & 1).astype(np.uint8)
    planes = np.packbits(bits, axis=-1, bitorder="little").view("<u8").astype(np.uint64).ravel()
    scores = before.copy()
    _add(planes, blocks, wide, leaves, scores)
    expected = before + leaves[FIRST + number][:, list(ORDER)].ravel()
    expected[blocks * ROWS :] = before[blocks * ROWS :]
    return scores, expected


def digest() -> str:
    """A mark of the bits of all that is tried."""
    tried = [_added(blocks, wide=wide)[0].tobytes() for blocks in (1, 3, 8) for wide in (False, True)]
    return hashlib.sha256(b"".join(tried)).hexdigest()


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("blocks", [1, 3, 8])
def test_each_row_gets_the_value_of_its_leaf_and_no_other_row_any(blocks: int, wide: bool) -> None:
    scores, expected = _added(blocks, wide=wide)
    assert scores.tobytes() == expected.tobytes()


def test_every_row_has_one_place() -> None:
    assert sorted(ORDER) == list(range(ROWS))


@pytest.mark.skipif(platform.machine() != "x86_64", reason="names processors of one family")
def test_a_processor_without_wide_registers_gives_the_same_bits() -> None:
    command = "from tests.ranking.test_mask_leaves import digest; print(digest())"
    asked = os.environ | {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx2,+bmi,+popcnt"}
    told = subprocess.run([sys.executable, "-c", command], env=asked, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == digest()
