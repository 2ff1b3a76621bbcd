"""What there is to see and buy in the simulated world: hosts, their products, videos and rooms, drawn by lot."""

from typing import NamedTuple

import numpy as np

from features import outcomes
from features.types import DoubleArray, IntArray
from seeds import constants as c
from seeds import words
from seeds.constants import Size

FOREVER = 1 << 45
CATEGORIES = len(words.CATEGORIES)
N_NOUNS, N_ADJECTIVES = 6, len(words.ADJECTIVES)


class Hosts(NamedTuple):
    """Hosts by row: type 0 merchant, 1 KOL, 2 celebrity; followers; a vector's offset (n, dims) and a quality."""

    type: IntArray
    followers: DoubleArray
    category: IntArray
    offset: DoubleArray
    quality: DoubleArray
    hour: IntArray


class Goods(NamedTuple):
    """Items of one kind by row; ``cart`` holds ``cart_size`` product rows for each in turn."""

    kind: IntArray
    host: IntArray
    category: IntArray
    noun: IntArray
    adjective: IntArray
    brand: IntArray
    own_shop: IntArray
    price: IntArray
    duration_ms: IntArray
    from_ms: IntArray
    until_ms: IntArray
    out_from_ms: IntArray
    out_until_ms: IntArray
    quality: DoubleArray
    cart_size: IntArray
    cart: IntArray


def draw_hosts(rng: np.random.Generator, size: Size) -> Hosts:
    """Hosts of each type, their followings by a Pareto law."""
    n = size.hosts
    kinds = np.zeros(n, np.int64)
    kol, celebrity = max(1, round(n * c.HOST_TYPES[1])), max(1, round(n * c.HOST_TYPES[2]))
    kinds[n - kol - celebrity :], kinds[n - celebrity :] = 1, 2
    followers = np.array(c.FOLLOWERS)[kinds] * (1 + rng.pareto(c.FOLLOWERS_TAIL, n))
    offset = rng.normal(size=(n, c.DIMS)) * np.sqrt(c.AUTHOR_VARIANCE)
    category = rng.permutation(np.arange(n) % CATEGORIES)
    quality = rng.normal(size=n) + 0.4 * kinds
    hours = rng.choice(24, n, p=shares(c.RHYTHM))
    return Hosts(kinds, followers, category, offset, quality, hours)


def shares(weights: tuple[float, ...] | DoubleArray) -> DoubleArray:
    """Weights as shares of 1."""
    whole: DoubleArray = np.asarray(weights, np.float64)
    parts: DoubleArray = whole / whole.sum()
    return parts


def _of_kind(rng: np.random.Generator, kind: int, host: IntArray, category: IntArray, **known: IntArray) -> Goods:
    """Items of which nothing special is known but what is given."""
    n = len(host)
    fills = {"brand": -1, "until_ms": FOREVER, "out_from_ms": FOREVER, "out_until_ms": FOREVER}
    columns = {
        name: np.full(n, fills.get(name, 0), np.int64) for name in Goods._fields if name not in {"quality", "cart"}
    }
    columns |= {"noun": rng.integers(0, N_NOUNS, n), "adjective": rng.integers(0, N_ADJECTIVES, n)}
    columns |= {"kind": np.full(n, kind), "host": host, "category": category, "cart": np.zeros(0, np.int64)}
    return Goods(quality=rng.normal(size=n), **(columns | known))


def _appear(rng: np.random.Generator, n: int, new: float, size: Size, start_ms: int) -> IntArray:
    """When items come: the new ones evenly over the days, the others in the month before."""
    fresh = rng.random(n) < new
    before = start_ms - c.MINUTE_MS - (rng.random(n) * 30 * c.DAY_MS).astype(np.int64)
    later = start_ms + (rng.random(n) * size.days * c.DAY_MS).astype(np.int64)
    return np.where(fresh, later, before)


def draw_products(rng: np.random.Generator, size: Size, hosts: Hosts, start_ms: int) -> Goods:
    """Products of merchants, some of which appear later and some of which run out for hours."""
    n, merchants = size.products, np.flatnonzero(hosts.type == 0)
    weights = hosts.followers[merchants] ** 0.5
    chosen = rng.choice(merchants, n, p=shares(weights))
    # Nobody opens a shop with nothing in it.
    chosen[: len(merchants)] = merchants[:n]
    brand = chosen * 3 + rng.choice(3, n, p=c.BRANDS_OF_A_MERCHANT)
    level = rng.normal(size=3 * size.hosts)[brand] * 0.6 + rng.normal(size=n) * 0.8
    price = np.maximum((c.PRICE * np.exp(c.PRICE_SD * level) / 100).astype(np.int64) * 100 - 10, 190)
    own_shop = (rng.random(size.hosts) < c.OWN_SHOP)[chosen].astype(np.int64)
    from_ms = _appear(rng, n, c.NEW_PRODUCTS, size, start_ms)
    from_ms[: len(merchants)] = np.minimum(from_ms[: len(merchants)], start_ms - c.HOUR_MS)
    out_from = start_ms + ((rng.random(n) * size.days + 0.25) * c.DAY_MS).astype(np.int64)
    out_until = out_from + (rng.uniform(2, 20, n) * c.HOUR_MS).astype(np.int64)
    limited = rng.random(n) < c.LIMITED
    out_from, out_until = np.where(limited, out_from, FOREVER), np.where(limited, out_until, FOREVER)
    known = {"brand": brand, "own_shop": own_shop, "price": price, "from_ms": from_ms}
    category = hosts.category[chosen]
    return _of_kind(
        rng,
        outcomes.PRODUCT,
        chosen,
        category,
        **known,
        out_from_ms=np.maximum(out_from, from_ms),
        out_until_ms=out_until,
    )


def draw_videos(rng: np.random.Generator, size: Size, hosts: Hosts, products: Goods, start_ms: int) -> Goods:
    """Videos of hosts; some sell a product."""
    n = size.videos
    host = rng.choice(size.hosts, n, p=shares(hosts.followers**0.3))
    category = np.where(rng.random(n) < 0.8, hosts.category[host], rng.integers(0, CATEGORIES, n))
    duration = np.exp(np.log(c.VIDEO_MS) + c.VIDEO_SD * rng.normal(size=n))
    duration_ms = np.clip(duration, c.VIDEO_LEAST_MS, c.VIDEO_MOST_MS).astype(np.int64)
    from_ms = _appear(rng, n, c.NEW_VIDEOS, size, start_ms)
    drawn = rng.integers(0, size.products, n)
    sells = (rng.random(n) < c.VIDEO_SELLS) & (products.from_ms[drawn] <= from_ms)
    return _of_kind(
        rng, outcomes.VIDEO, host, category, duration_ms=duration_ms, from_ms=from_ms, cart_size=sells.astype(np.int64),
        cart=drawn[sells],
    )  # fmt: skip


def draw_rooms(
    rng: np.random.Generator, size: Size, hosts: Hosts, products: Goods, start_ms: int
) -> tuple[Goods, list[str]]:
    """Sessions by start. A host's sessions do not overlap, and the last may run past the world's end."""
    sessions = []
    for host in range(size.hosts):
        free_ms = start_ms
        for day in range(size.days):
            count = int(rng.random() < c.DAILY_SESSIONS[hosts.type[host]])
            count += count and int(rng.random() < c.SECOND_SESSION)
            for number in range(count):
                habit_ms = start_ms + day * c.DAY_MS + int(hosts.hour[host]) * c.HOUR_MS
                from_ms = max(habit_ms + int(rng.normal() * 40 * c.MINUTE_MS), free_ms)
                hours = min(max(c.ROOM_HOURS * float(np.exp(c.ROOM_HOURS_SD * rng.normal())), 1.0), 8.0)
                free_ms = from_ms + int(hours * c.HOUR_MS) + 10 * c.MINUTE_MS
                sessions.append((from_ms, host, free_ms - 10 * c.MINUTE_MS, day, number + 1))
    sessions.sort()
    table = np.array(sessions, np.int64).reshape(-1, 5)
    midnight = np.datetime64(start_ms + c.UTC_OFFSET_MS, "ms").astype("datetime64[D]")
    days = [str(midnight + day).replace("-", "") for day in range(size.days)]
    ids = [f"room-h{host}-{days[day]}-{number}" for _, host, _, day, number in sessions]
    carts = [_cart(rng, int(host), hosts, products, int(from_ms)) for from_ms, host, *_ in sessions]
    sizes = np.array([len(cart) for cart in carts], np.int64)
    known = {"from_ms": table[:, 0], "until_ms": table[:, 2], "cart_size": sizes}
    cart = np.concatenate([np.zeros(0, np.int64), *carts])
    return _of_kind(rng, outcomes.ROOM, table[:, 1], hosts.category[table[:, 1]], **known, cart=cart), ids


def _cart(rng: np.random.Generator, host: int, hosts: Hosts, products: Goods, now_ms: int) -> IntArray:
    """What a room sells: a merchant's own products, for others those of their category and a few more."""
    there = products.from_ms <= now_ms
    fits = products.host == host if hosts.type[host] == 0 else products.category == hosts.category[host]
    pool = np.flatnonzero(fits & there)
    pool = pool if len(pool) else np.flatnonzero(there)
    return rng.choice(pool, min(len(pool), int(rng.integers(c.CART_LEAST, c.CART_MOST + 1))), replace=False)
