"""Character n-grams of texts by the buckets that their CRC-32 gives them."""

import zlib

import numpy as np
from numba import njit

from features.types import ByteArray, FloatArray, IntArray, RowArray

BUCKETS = 1 << 13
MOST_CHARACTERS = 3
"""Of a gram."""
CRC_32 = np.array([zlib.crc32(bytes([byte ^ 0xFF])) ^ 0xFF000000 for byte in range(256)], np.uint32)
"""By byte."""


@njit(nogil=True, cache=True)
def hashed(text: ByteArray, ends: IntArray) -> tuple[RowArray, RowArray, FloatArray]:
    """Where the grams of each text end, their buckets, ascending in a text, and their weights."""
    indptr = np.zeros(len(ends), np.int32)
    # A character takes a byte at least, and begins as many grams as they may have characters at most.
    indices = np.empty(MOST_CHARACTERS * len(text), np.int32)
    weights = np.empty(MOST_CHARACTERS * len(text), np.float32)
    sums = np.zeros(BUCKETS, np.int64)
    n = 0
    for i in range(len(ends) - 1):
        found = np.empty(MOST_CHARACTERS * (ends[i + 1] - ends[i]), np.int32)
        grams = 0
        for start in range(ends[i], ends[i + 1]):
            if begins_character(text[start]):
                crc, characters, at = np.uint32(0xFFFFFFFF), 0, start
                while characters < MOST_CHARACTERS and at < ends[i + 1]:
                    crc = CRC_32[(crc ^ text[at]) & np.uint32(0xFF)] ^ (crc >> np.uint32(8))
                    at += 1
                    if at == ends[i + 1] or begins_character(text[at]):
                        characters += 1
                        digest = crc ^ np.uint32(0xFFFFFFFF)
                        bucket = np.int64(digest) % BUCKETS
                        sums[bucket] += 1 if digest >> np.uint32(31) else -1
                        found[grams] = bucket
                        grams += 1
        buckets = np.unique(found[:grams])
        square = 0
        for bucket in buckets:
            square += sums[bucket] * sums[bucket]
        for bucket in buckets:
            if sums[bucket] != 0:
                indices[n], weights[n] = bucket, sums[bucket] / np.sqrt(np.float64(square))
                n += 1
            sums[bucket] = 0
        indptr[i + 1] = n
    return indptr, indices[:n].copy(), weights[:n].copy()


@njit(nogil=True, cache=True, inline="always")
def begins_character(byte: int) -> bool:
    """Whether a character of UTF-8 begins with a byte."""
    return byte & 0xC0 != 0x80
