"""Matrices in files of numpy: written as they lie, and mapped rather than read where they are large."""

import io
from pathlib import Path

import numpy as np

from features.errors import BundleError
from features.types import FloatArray

MAPPED = 1 << 23
"""A matrix of more bytes is mapped from its file."""
Piece = bytes | memoryview


def to_npy(matrix: FloatArray) -> list[Piece]:
    """What ``np.save`` writes: a header, then the numbers as they lie."""
    rows, header = np.ascontiguousarray(matrix), io.BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(rows))
    return [header.getvalue(), rows.reshape(-1).view(np.uint8).data]


def from_npy(path: Path) -> FloatArray:
    """A matrix; the operating system reads a large one as it is wanted, and may let go of what is not."""
    try:
        large = path.stat().st_size > MAPPED
        matrix = np.load(path, mmap_mode="r" if large else None, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise BundleError(f"{path} cannot be read: {error}.", "Restore the bundle or train it anew.") from error
    if matrix.dtype != np.float32 or matrix.ndim != 2:
        raise BundleError(f"{path} holds {matrix.dtype} {matrix.shape}.", "Train the bundle anew.")
    return np.asarray(matrix)
