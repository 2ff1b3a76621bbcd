"""Every rate and constant of the simulated world, fixed before any training code was written.

``RATES`` are what a log of the world shows, position bias and fatigue included: for videos those of KuaiRand-Pure, for
rooms and products our assumption. ``INTERCEPTS`` and ``WATCH`` were fitted to them once and belong to the rest of this
file. Effects are on the logit unless another unit is named.
"""

from dataclasses import dataclass
from typing import NamedTuple

SECOND_MS, MINUTE_MS, HOUR_MS, DAY_MS = 1_000, 60_000, 3_600_000, 86_400_000
UTC_OFFSET_MS = 8 * HOUR_MS
START_MS = 1_655_308_800_000
"""16 June 2022 00:00 in Shanghai: the third day is 18 June."""

# -- what a log shows -------------------------------------------------------------------------------------------------
RATES: dict[str, dict[str, float]] = {
    "video": {
        "click": 0.45, "long_view": 0.31, "complete": 0.17, "like": 0.017, "comment": 0.0024, "share": 0.0008,
        "follow": 0.0014, "cart": 0.002, "order": 0.0005, "hide": 0.0007, "report": 0.0002,
    },
    "room": {
        "click": 0.36, "long_view": 0.20, "complete": 0.112, "like": 0.030, "comment": 0.009, "share": 0.0016,
        "follow": 0.005, "gift": 0.003, "cart": 0.024, "order": 0.006, "hide": 0.001, "report": 0.0003,
    },
    "product": {
        "click": 0.28, "long_view": 0.13, "complete": 0.065, "like": 0.009, "comment": 0.0010, "share": 0.0012,
        "cart": 0.030, "order": 0.008, "hide": 0.0008, "report": 0.0002,
    },
}  # fmt: skip
"""Share of impressions that an action follows; what is not named never happens to the kind."""
REFUND_RATE = 0.09
COMPLAINT_RATE = 0.02
"""Shares of orders."""

# -- why people act ---------------------------------------------------------------------------------------------------
INTERCEPTS: dict[str, dict[str, float]] = {
    "video": {
        "click": 0.1, "like": -4.22, "comment": -5.95, "share": -7.2, "follow": -6.8, "cart": -4.88, "order": -1.98,
        "hide": -7.17, "report": -8.3,
    },
    "room": {
        "click": -0.34, "like": -3.35, "comment": -4.41, "share": -6.3, "follow": -5.25, "gift": -5.97, "cart": -3.8,
        "order": -1.89, "hide": -6.75, "report": -7.9,
    },
    "product": {
        "click": -1.02, "like": -4.55, "comment": -6.5, "share": -6.48, "cart": -3.19, "order": -1.9, "hide": -7.0,
        "report": -8.2, "refund": -1.85, "complaint": -3.45,
    },
}  # fmt: skip
"""Of click, hide and report given that the slot is looked at; order given cart; refund and complaint given order; all
others given click."""
TASTE = {
    "click": 1.25, "like": 0.8, "comment": 0.7, "share": 0.7, "follow": 0.8, "gift": 0.9, "cart": 0.6, "order": 0.3,
    "hide": -0.7, "report": -0.3,
}  # fmt: skip
"""Effect of one standard deviation of taste: how well the item suits the person."""
QUALITY = {
    "click": 0.55, "like": 0.4, "comment": 0.2, "share": 0.4, "follow": 0.4, "gift": 0.4, "cart": 0.35, "order": 0.2,
    "hide": -0.4, "report": -0.6, "refund": -0.6, "complaint": -0.8,
}  # fmt: skip
"""Effect of one standard deviation of the item's quality, the same for everybody."""


class Watch(NamedTuple):
    """The logarithm of watched ms is normal: its mean at average taste without a click, effects on it, its sd.

    ``length`` is the effect of one unit of log(duration / 30 s).
    """

    mean: float
    taste: float
    quality: float
    length: float
    click: float
    sd: float


WATCH = {
    "video": Watch(8.1, 0.28, 0.12, 0.35, 1.75, 0.7),
    "room": Watch(7.56, 0.35, 0.15, 0.0, 2.6, 1.23),
    "product": Watch(6.54, 0.20, 0.10, 0.0, 2.1, 1.0),
}
WATCH_MOST_MS = 30 * MINUTE_MS

EXAMINATION = 0.06
"""Slot k (0 the first) is looked at with probability 1 / (1 + EXAMINATION · k)."""
FATIGUE_ITEM, FATIGUE_AUTHOR, FATIGUE_CATEGORY, FATIGUE_MOST = 1.0, 0.35, 0.08, 2.0
"""Off a click for each time the same item, author or category was seen before in the session, and at most."""
SESSION_MS = 30 * MINUTE_MS
FOLLOWED = 0.5
USER_SD, BUYER_SD = 0.45, 0.7
THRIFT = 0.15
"""Off click and cart by the squared distance, in sd of log price, of a product from the price a person is used to."""
SURFACE = {
    "feed": {"video": 0.0, "room": 0.0, "product": 0.0},
    "plaza": {"video": 0.0, "room": 0.35, "product": 0.0},
    "mall": {"video": 0.0, "room": 0.0, "product": 0.45},
}
HOUR_PEAK = {"video": (23, 0.10), "room": (21, 0.25), "product": (13, 0.10)}
"""Local hour of most interest and the height of the daily wave."""
CAMPAIGN_DAY = 2
CAMPAIGN_TRAFFIC = 2.0
CAMPAIGN_CART = 0.65
"""The 618 day: its traffic as a multiple, its effect on cart and on order each."""
CAMPAIGN_PRICE = 0.8
CAMPAIGN_SHARE = 0.5

# -- who people are ---------------------------------------------------------------------------------------------------
DIMS = 12
AGES = (0.27, 0.36, 0.22, 0.10, 0.05)
WOMEN = 0.6
TIERS = (0.25, 0.33, 0.24, 0.18)
DEVICE_SHARES = (0.64, 0.33, 0.03)
AGE_VARIANCE, GENDER_VARIANCE, TIER_VARIANCE = 0.12, 0.15, 0.06
"""Of the taste vector; the rest is the person's own."""
ACTIVITY_SD = 0.9
PAGES_PER_SESSION = 2.2
PAGE_GAP_MS, PAGE_GAP_SD = 150 * SECOND_MS, 0.4
RHYTHM = (
    0.9, 0.5, 0.3, 0.2, 0.15, 0.2, 0.5, 0.9, 1.2, 1.3, 1.4, 1.6, 2.2, 1.9, 1.4, 1.3, 1.3, 1.5, 2.0, 2.6, 3.2, 3.4, 2.8,
    1.7,
)  # fmt: skip
"""Relative traffic by local hour."""
SURFACE_SHARES = (0.8, 0.1, 0.1)
FOLLOWS_MEAN, FOLLOWS_MOST = 3.0, 8
HISTORY_MOST = 8

# -- what there is ----------------------------------------------------------------------------------------------------
CATEGORY_VARIANCE, AUTHOR_VARIANCE, WORD_VARIANCE = 0.40, 0.25, 0.15
"""Of the item's vector; the rest is the item's own."""
HOST_TYPES = (0.88, 0.10, 0.02)
"""Merchant, KOL, celebrity: shares of hosts."""
DAILY_SESSIONS = (0.85, 0.45, 0.25)
"""A host's chance to open a room on a day; so merchants open about 93 % of rooms."""
SECOND_SESSION = 0.15
FOLLOWERS = (2_000.0, 120_000.0, 3_000_000.0)
FOLLOWERS_TAIL = 1.1
"""The exponent of the Pareto law of followings above each type's least."""
ROOM_HOURS, ROOM_HOURS_SD = 2.2, 0.55
"""Median, and sd of its logarithm; a room lasts from one to eight hours."""
PULSE_MS, PIN_MS = 60 * SECOND_MS, 6 * MINUTE_MS
CART_LEAST, CART_MOST = 4, 20
QUALITY_PARTS = {"product": (0.4, 0.0, 0.9), "video": (0.4, 0.15, 0.8), "room": (0.6, 0.3, 0.6)}
"""What quality is made of: the host's own, the host's reach, the item's."""
VIDEO_MS, VIDEO_SD = 34 * SECOND_MS, 0.7
VIDEO_LEAST_MS, VIDEO_MOST_MS = 5 * SECOND_MS, 10 * MINUTE_MS
VIDEO_SELLS = 0.3
NEW_VIDEOS, NEW_PRODUCTS = 0.4, 0.1
"""Shares that appear after the start, evenly over the days."""
OWN_SHOP = 0.7
BRANDS_OF_A_MERCHANT = (0.72, 0.2, 0.08)
PRICE, PRICE_SD = 8_900.0, 0.9
LIMITED, STOCK = 0.15, 500
"""Share of products that run out once, for some hours, and what they are restocked to."""

# -- how the log came about -------------------------------------------------------------------------------------------
PAGE = 10
CANDIDATES = {"feed": (32, 14, 14), "plaza": (0, 60, 0), "mall": (0, 0, 60)}
"""Draws of videos, rooms and products that a page is chosen from."""
RANDOM_PAGES = 0.5
POLICY_QUALITY, POLICY_TASTE = 1.0, 0.4
"""The weights of quality (what popularity comes from) and taste in the softmax that chooses the other pages."""
DELAY_MS, LATE, LATE_MS = 300, 0.01, HOUR_MS
"""Mean time from an event to its reception; the share held back by a lost connection, and for how long at most."""
REFUND_HOURS, REFUND_SD = 20.0, 0.8
"""Median time from order to refund or complaint, and sd of its logarithm."""


@dataclass(frozen=True)
class Size:
    """How much there is of everything; ``pages_per_day`` is the mean of a person."""

    users: int
    hosts: int
    videos: int
    products: int
    days: int
    pages_per_day: float = 2.2

    @classmethod
    def small(cls) -> "Size":
        """About 150,000 records: for tests and a quick demonstration."""
        return cls(users=700, hosts=60, videos=1_500, products=400, days=3)

    @classmethod
    def standard(cls) -> "Size":
        """About a million records."""
        return cls(users=3_300, hosts=160, videos=5_000, products=1_500, days=5)
