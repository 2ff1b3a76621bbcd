"""What counts as watched: one definition of completion and of the long view for each kind, used by the fold.

The label of an impression is what the fold derived from its watch, so training and serving cannot disagree.
"""

from numba import njit

ROOM, PRODUCT, VIDEO = 1, 2, 3
"""Codes of the kinds in the ``kind`` column; 0 is an item the catalog has not described."""
KIND_CODES = {"": 0, "room": ROOM, "product": PRODUCT, "video": VIDEO}
KIND_NAMES = ("", "room", "product", "video")
ROOM_TYPE_CODES = {"": 0, "merchant": 1, "kol": 2, "celebrity": 3}
SHOP_CODES = {"": 0, "own": 1, "third_party": 2}

VIDEO_FULL_MS = 60_000
"""A video longer than this is complete once this much was played."""
VIDEO_LONG_MS = 18_000
ROOM_FULL_MS = (60_000, 60_000, 90_000, 120_000)
"""The effective watch of a room by room type; selling rooms say what they have to say sooner than a show."""
ROOM_LONG_MS = 30_000
PRODUCT_FULL_MS = 15_000
PRODUCT_LONG_MS = 8_000


@njit(nogil=True, cache=True)
def is_complete(kind: int, room_type: int, duration_ms: float, watched_ms: int) -> bool:
    """Whether a watch of so many milliseconds went to the end.

    Video: played at least min(duration, 60 s), of a known duration. Room: at least the effective watch of its room
    type. Product: its page was read for 15 s.
    """
    if kind == VIDEO:
        return duration_ms > 0 and watched_ms >= min(duration_ms, VIDEO_FULL_MS)
    if kind == ROOM:
        return watched_ms >= ROOM_FULL_MS[room_type]
    return kind == PRODUCT and watched_ms >= PRODUCT_FULL_MS


@njit(nogil=True, cache=True)
def is_long_view(kind: int, duration_ms: float, watched_ms: int) -> bool:
    """Whether a watch was long. Video: at least min(duration, 18 s), as KuaiRand has it; room: 30 s; product: 8 s."""
    if kind == VIDEO:
        return duration_ms > 0 and watched_ms >= min(duration_ms, VIDEO_LONG_MS)
    if kind == ROOM:
        return watched_ms >= ROOM_LONG_MS
    return kind == PRODUCT and watched_ms >= PRODUCT_LONG_MS
