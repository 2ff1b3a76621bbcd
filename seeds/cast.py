"""Who and what there is in the simulated world: persons, hosts, products, videos and rooms, drawn once from a seed."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from features import outcomes
from features.layout import ACTION_CODE
from features.types import DoubleArray, IntArray
from seeds import constants as c
from seeds import words
from seeds.constants import Size
from seeds.goods import CATEGORIES, N_NOUNS, Goods, Hosts, draw_hosts, draw_products, draw_rooms, draw_videos, shares
from seeds.truth import REPORT, Habits, People, Rates, Things, Truth

KINDS = ("video", "room", "product")


class Persons(NamedTuple):
    """What is known of users by row, as codes into ``words``, and how often they come, relatively."""

    age: IntArray
    gender: IntArray
    tier: IntArray
    device: IntArray
    registered_ms: IntArray
    activity: DoubleArray


@dataclass(frozen=True)
class Cast:
    """Everybody and everything; items by row are products, then videos, then rooms by start."""

    seed: int
    size: Size
    start_ms: int
    people: Persons
    hosts: Hosts
    goods: Goods
    item_ids: list[str]
    truth: Truth

    @property
    def end_ms(self) -> int:
        """When the world's last day ends."""
        return self.start_ms + self.size.days * c.DAY_MS

    @cached_property
    def user_ids(self) -> list[str]:
        """Ids of persons by row."""
        return [f"u{row}" for row in range(self.size.users)]

    @cached_property
    def user_rows(self) -> dict[str, int]:
        """Rows of persons by id."""
        return {name: row for row, name in enumerate(self.user_ids)}

    @cached_property
    def item_rows(self) -> dict[str, int]:
        """Rows of items by id."""
        return {name: row for row, name in enumerate(self.item_ids)}

    @classmethod
    def draw(cls, seed: int, size: Size, start_ms: int) -> "Cast":
        """The cast of a seed."""
        rng = np.random.default_rng([seed, 1])
        centres = rng.normal(size=(CATEGORIES, c.DIMS)) * np.sqrt(c.CATEGORY_VARIANCE)
        nouns = rng.normal(size=(CATEGORIES, N_NOUNS, c.DIMS)) * np.sqrt(c.WORD_VARIANCE)
        hosts = draw_hosts(rng, size)
        products = draw_products(rng, size, hosts, start_ms)
        videos = draw_videos(rng, size, hosts, products, start_ms)
        rooms, room_ids = draw_rooms(rng, size, hosts, products, start_ms)
        goods = Goods(*(np.concatenate(parts) for parts in zip(products, videos, rooms, strict=True)))
        own = np.sqrt(1 - c.CATEGORY_VARIANCE - c.AUTHOR_VARIANCE - c.WORD_VARIANCE)
        vectors = centres[goods.category] + hosts.offset[goods.host] + nouns[goods.category, goods.noun]
        vectors += own * rng.normal(size=vectors.shape)
        people, persons, taste_mean = _users(rng, size, hosts, centres, vectors, start_ms)
        ids = [f"p{k}" for k in range(size.products)] + [f"v{k}" for k in range(size.videos)] + room_ids
        truth = Truth(np.uint64(seed), people, _things(goods, hosts, vectors), _rates(), _habits(start_ms, taste_mean))
        return cls(seed, size, start_ms, persons, hosts, goods, ids, truth)


def _standard(x: DoubleArray) -> DoubleArray:
    standard: DoubleArray = (x - x.mean()) / max(float(x.std()), 1e-9)
    return standard


def _users(
    rng: np.random.Generator, size: Size, hosts: Hosts, centres: DoubleArray, vectors: DoubleArray, start_ms: int
) -> tuple[People, Persons, float]:
    """Persons, what is known of them, and the mean of taste that is taken off."""
    n = size.users
    age, tier = rng.choice(len(c.AGES), n, p=c.AGES), rng.choice(len(c.TIERS), n, p=c.TIERS)
    gender, device = (rng.random(n) >= c.WOMEN).astype(np.int64), rng.choice(len(c.DEVICE_SHARES), n, p=c.DEVICE_SHARES)
    own = np.sqrt(1 - c.AGE_VARIANCE - c.GENDER_VARIANCE - c.TIER_VARIANCE)
    vector = own * rng.normal(size=(n, c.DIMS))
    for codes, levels, variance in (
        (age, 5, c.AGE_VARIANCE),
        (gender, 2, c.GENDER_VARIANCE),
        (tier, 4, c.TIER_VARIANCE),
    ):
        vector += np.sqrt(variance) * rng.normal(size=(levels, c.DIMS))[codes]
    drawn = vector[rng.integers(0, n, 20_000)] * vectors[rng.integers(0, len(vectors), 20_000)]
    vector /= drawn.sum(1).std()
    taste_mean = float(vector.mean(0) @ vectors.mean(0))
    pull = vector @ (centres[hosts.category] + hosts.offset).T + 0.7 * np.log(hosts.followers)
    ranked = np.argsort(-(pull + rng.gumbel(size=pull.shape)), axis=1)[:, : c.FOLLOWS_MOST]
    kept = np.arange(ranked.shape[1]) < rng.poisson(c.FOLLOWS_MEAN, n)[:, None]
    follows = np.where(kept, ranked, -1).astype(np.int32)
    price = 0.5 * (1.5 - tier) / 1.1 + 0.8 * rng.normal(size=n)
    people = People(vector, c.USER_SD * rng.normal(size=n), c.BUYER_SD * rng.normal(size=n), price, follows)
    registered = start_ms - (rng.exponential(400, n) * c.DAY_MS).astype(np.int64) - c.DAY_MS
    activity = shares(np.exp(c.ACTIVITY_SD * rng.normal(size=n)))
    return people, Persons(age, gender, tier, device, registered, activity), taste_mean


def _quality(goods: Goods, hosts: Hosts) -> DoubleArray:
    """Mean 0 and variance 1 within each kind; a host's own quality and reach show in what the host does."""
    reach = _standard(np.log(hosts.followers))
    quality = np.empty(len(goods.kind))
    for name, (of_host, of_reach, own) in c.QUALITY_PARTS.items():
        of_kind = goods.kind == outcomes.KIND_CODES[name]
        host = goods.host[of_kind]
        parts = of_host * hosts.quality[host] + of_reach * reach[host] + own * goods.quality[of_kind]
        quality[of_kind] = _standard(parts)
    return quality


def _thresholds(goods: Goods, hosts: Hosts) -> tuple[IntArray, IntArray]:
    """How long a watch must be to be complete, and to be long, by item: ``features.outcomes`` as numbers."""
    is_room, is_product = goods.kind == outcomes.ROOM, goods.kind == outcomes.PRODUCT
    full = np.minimum(goods.duration_ms, outcomes.VIDEO_FULL_MS)
    full[is_room] = np.array(outcomes.ROOM_FULL_MS)[1 + hosts.type[goods.host[is_room]]]
    full[is_product] = outcomes.PRODUCT_FULL_MS
    long = np.minimum(goods.duration_ms, outcomes.VIDEO_LONG_MS)
    long[is_room], long[is_product] = outcomes.ROOM_LONG_MS, outcomes.PRODUCT_LONG_MS
    return full, long


def _things(goods: Goods, hosts: Hosts, vectors: DoubleArray) -> Things:
    full_ms, long_ms = _thresholds(goods, hosts)
    dealt = np.arange(len(goods.kind)) % 100 < 100 * c.CAMPAIGN_SHARE
    sale = np.where(dealt, (goods.price * c.CAMPAIGN_PRICE).astype(np.int64) // 10 * 10, goods.price)
    return Things(
        vector=vectors,
        quality=_quality(goods, hosts),
        price_level=np.where(goods.price > 0, np.log(np.maximum(goods.price, 1) / c.PRICE) / c.PRICE_SD, 0.0),
        kind=goods.kind.astype(np.uint8),
        author=goods.host.astype(np.int32),
        category=goods.category.astype(np.int32),
        duration_ms=goods.duration_ms,
        full_ms=full_ms,
        long_ms=long_ms,
        from_ms=goods.from_ms,
        until_ms=goods.until_ms,
        out_from_ms=goods.out_from_ms,
        out_until_ms=goods.out_until_ms,
        price=goods.price,
        sale_price=sale,
        start=np.concatenate([[0], np.cumsum(goods.cart_size)]),
        cart=goods.cart.astype(np.int32),
    )


def _rates() -> Rates:
    codes = {name: outcomes.KIND_CODES[name] for name in KINDS}
    intercept = np.full((4, REPORT + 1), -np.inf)
    watch, hour, surface = np.zeros((4, 6)), np.zeros((24, 4)), np.zeros((len(words.SURFACES), 4))
    for name, code in codes.items():
        for action, value in c.INTERCEPTS[name].items():
            intercept[code, ACTION_CODE[action]] = value
        watch[code] = c.WATCH[name]
        peak, height = c.HOUR_PEAK[name]
        hour[:, code] = height * np.cos(2 * np.pi * (np.arange(24) - peak) / 24)
        surface[:, code] = [c.SURFACE[each][name] for each in words.SURFACES]
    taste, quality = np.zeros(REPORT + 1), np.zeros(REPORT + 1)
    for array, table in ((taste, c.TASTE), (quality, c.QUALITY)):
        for action, value in table.items():
            array[ACTION_CODE[action]] = value
    return Rates(intercept, taste, quality, surface, hour, watch)


def _habits(start_ms: int, taste_mean: float) -> Habits:
    campaign_ms = start_ms + c.CAMPAIGN_DAY * c.DAY_MS
    return Habits(
        examination=c.EXAMINATION,
        fatigue_item=c.FATIGUE_ITEM,
        fatigue_author=c.FATIGUE_AUTHOR,
        fatigue_category=c.FATIGUE_CATEGORY,
        fatigue_most=c.FATIGUE_MOST,
        followed=c.FOLLOWED,
        thrift=c.THRIFT,
        campaign=c.CAMPAIGN_CART,
        campaign_from_ms=campaign_ms,
        campaign_until_ms=campaign_ms + c.DAY_MS,
        taste_mean=taste_mean,
        watch_most_ms=c.WATCH_MOST_MS,
        utc_offset_ms=c.UTC_OFFSET_MS,
        delay_ms=float(c.DELAY_MS),
        late=c.LATE,
        late_ms=float(c.LATE_MS),
        after_log_ms=float(np.log(c.REFUND_HOURS * c.HOUR_MS)),
        after_sd=c.REFUND_SD,
    )
