"""The ground truth: how likely each thing is that a person does with an item.

One piece of code for one page and for a whole log. Every draw is a hash of (seed, user, item, visit, action), so two
policies that show one item to one person on one visit meet the same luck: the outcome differs only through the slot
(examination), the surface, the time, and what was seen before (fatigue).
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from features.layout import ACTION_CODE
from features.outcomes import PRODUCT
from features.types import ByteArray, DoubleArray, IntArray, RowArray

IMPRESSION, CLICK, WATCH = ACTION_CODE["impression"], ACTION_CODE["click"], ACTION_CODE["watch"]
LIKE, GIFT, CART, ORDER = ACTION_CODE["like"], ACTION_CODE["gift"], ACTION_CODE["cart"], ACTION_CODE["order"]
REFUND, COMPLAINT = ACTION_CODE["refund"], ACTION_CODE["complaint"]
HIDE, REPORT = ACTION_CODE["hide"], ACTION_CODE["report"]
COMPLETE, LONG_VIEW = REPORT + 1, REPORT + 2
EXPECTED = (*list(ACTION_CODE)[: REPORT + 1], "complete", "long_view")
"""The columns of ``expect``."""
EXAMINED, WATCHED, PICKED, DELAYED, LATE, AFTER, AMOUNT, SHOWN = range(32, 64, 4)
"""Salts of draws that are no action of their own."""

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
HOUR_MS = 3_600_000


class People(NamedTuple):
    """Persons by row: tastes (n, dims), biases (n,), the price they are used to (n,), hosts followed, -1 none."""

    vector: DoubleArray
    bias: DoubleArray
    buyer: DoubleArray
    price: DoubleArray
    follows: RowArray


class Things(NamedTuple):
    """Items by row; times are when an item can be shown and when it is out of stock; carts are ``cart[start[i]:]``."""

    vector: DoubleArray
    quality: DoubleArray
    price_level: DoubleArray
    kind: ByteArray
    author: RowArray
    category: RowArray
    duration_ms: IntArray
    full_ms: IntArray
    long_ms: IntArray
    from_ms: IntArray
    until_ms: IntArray
    out_from_ms: IntArray
    out_until_ms: IntArray
    price: IntArray
    sale_price: IntArray
    start: IntArray
    cart: RowArray


class Rates(NamedTuple):
    """The tables of ``constants``: by kind and action, by action, by surface and kind, by hour and kind, by kind."""

    intercept: DoubleArray
    taste: DoubleArray
    quality: DoubleArray
    surface: DoubleArray
    hour: DoubleArray
    watch: DoubleArray


class Habits(NamedTuple):
    """The numbers of ``constants``, given as values: a compiled kernel must not keep old ones."""

    examination: float
    fatigue_item: float
    fatigue_author: float
    fatigue_category: float
    fatigue_most: float
    followed: float
    thrift: float
    campaign: float
    campaign_from_ms: int
    campaign_until_ms: int
    taste_mean: float
    watch_most_ms: int
    utc_offset_ms: int
    delay_ms: float
    late: float
    late_ms: float
    after_log_ms: float
    after_sd: float


class Truth(NamedTuple):
    """All that outcomes depend on."""

    seed: np.uint64
    people: People
    things: Things
    rates: Rates
    habits: Habits


@njit(nogil=True, cache=True)
def mixed(x: np.uint64) -> np.uint64:
    """The finaliser of splitmix64."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@njit(nogil=True, cache=True)
def luck(seed: np.uint64, user: int, item: int, visit: int, what: int) -> float:
    """A number in (0, 1) that depends on nothing else."""
    x = mixed(seed + GOLDEN * np.uint64(user + 1))
    x = mixed(x + GOLDEN * np.uint64(item + 1))
    x = mixed(x + GOLDEN * np.uint64(visit + 1))
    x = mixed(x + GOLDEN * np.uint64(what + 1))
    return (np.float64(x >> np.uint64(11)) + 0.5) / 9007199254740992.0


@njit(nogil=True, cache=True)
def bell(seed: np.uint64, user: int, item: int, visit: int, what: int) -> float:
    """A standard normal number (Box and Muller) of two draws, ``what`` and the next."""
    radius = math.sqrt(-2.0 * math.log(luck(seed, user, item, visit, what)))
    return radius * math.cos(2.0 * math.pi * luck(seed, user, item, visit, what + 1))


@njit(nogil=True, cache=True)
def sigmoid(x: float) -> float:
    """The logistic function."""
    return 1.0 / (1.0 + math.exp(-x))


@njit(nogil=True, cache=True)
def taste_of(truth: Truth, user: int, item: int) -> float:
    """How well an item suits a person: mean 0 and variance 1 over all pairs."""
    total = -truth.habits.taste_mean
    for d in range(truth.people.vector.shape[1]):
        total += truth.people.vector[user, d] * truth.things.vector[item, d]
    return total


@njit(nogil=True, cache=True)
def in_stock(things: Things, item: int, now_ms: int) -> bool:
    """Whether a product can be bought."""
    there = things.from_ms[item] <= now_ms < things.until_ms[item]
    return there and not things.out_from_ms[item] <= now_ms < things.out_until_ms[item]


@njit(nogil=True, cache=True)
def sold(things: Things, item: int, now_ms: int, draw: float) -> int:
    """What an order of an item buys: a product itself, of a cart the drawn one or the next in stock; -1 is nothing."""
    if things.kind[item] == PRODUCT:
        return item if in_stock(things, item, now_ms) else -1
    first, size = things.start[item], things.start[item + 1] - things.start[item]
    for k in range(size):
        product = things.cart[first + (int(draw * size) + k) % size]
        if in_stock(things, product, now_ms):
            return int(product)
    return -1


@njit(nogil=True, cache=True)
def probabilities(
    truth: Truth, user: int, item: int, now_ms: int, surface: int, fatigue: float, p: DoubleArray
) -> float:
    """Fill ``p`` (actions,) with the chances of a slot that is looked at; returns the mean of log watch, unclicked.

    Chances are conditional as ``constants.INTERCEPTS`` says; all are 0 of what is not there at the time.
    """
    people, things, rates, habits = truth.people, truth.things, truth.rates, truth.habits
    kind, quality = things.kind[item], things.quality[item]
    taste = taste_of(truth, user, item)
    p[:] = 0.0
    if not things.from_ms[item] <= now_ms < things.until_ms[item]:
        return -1e3
    hour = ((now_ms + habits.utc_offset_ms) // HOUR_MS) % 24
    distance = things.price_level[item] - people.price[user] if kind == PRODUCT else 0.0
    thrift = -habits.thrift * distance * distance
    campaign = habits.campaign if habits.campaign_from_ms <= now_ms < habits.campaign_until_ms else 0.0
    interest = people.bias[user] + rates.surface[surface, kind] + rates.hour[hour, kind] + thrift - fatigue
    for host in people.follows[user]:
        if host >= 0 and host == things.author[item] and kind != PRODUCT:
            interest += habits.followed
    sells = sold(things, item, now_ms, 0.0) >= 0
    for action in range(p.shape[0]):
        x = rates.intercept[kind, action] + rates.taste[action] * taste + rates.quality[action] * quality
        if action == CLICK:
            x += interest
        if action == CART:
            x += people.buyer[user] + thrift
        if action in (CART, ORDER):
            x += campaign if sells else -np.inf
        p[action] = sigmoid(x)
    w = rates.watch[kind]
    length = math.log(things.duration_ms[item] / 30_000.0) if things.duration_ms[item] > 0 else 0.0
    return float(w[0] + w[1] * taste + w[2] * quality + w[3] * length)


@njit(nogil=True, cache=True)
def tail(mean: float, sd: float, least_ms: int) -> float:
    """The chance that a lognormal watch lasts at least so long."""
    return 0.5 * math.erfc((math.log(least_ms) - mean) / (sd * math.sqrt(2.0)))


@njit(nogil=True, cache=True)
def expect(truth: Truth, user: int, items: RowArray, now_ms: int, surface: int, out: DoubleArray) -> None:
    """Fill ``out`` (n, len(EXPECTED)) with the chance of each action at a slot that is looked at, nobody tired."""
    p = np.empty(REPORT + 1)
    for i in range(len(items)):
        mean = probabilities(truth, user, items[i], now_ms, surface, 0.0, p)
        w = truth.rates.watch[truth.things.kind[items[i]]]
        click = p[CLICK]
        out[i, : REPORT + 1] = p
        out[i, LIKE : CART + 1] *= click
        out[i, ORDER] *= out[i, CART]
        out[i, IMPRESSION] = 1.0
        out[i, WATCH] = 1.0 if click > 0.0 else 0.0
        out[i, REFUND : COMPLAINT + 1] = 0.0
        for k, least in ((COMPLETE, truth.things.full_ms[items[i]]), (LONG_VIEW, truth.things.long_ms[items[i]])):
            out[i, k] = click * tail(mean + w[4], w[5], least) + (1.0 - click) * tail(mean, w[5], least)


@njit(nogil=True, cache=True)
def fatigue_of(truth: Truth, item: int, seen: RowArray, upto: int) -> float:
    """How tired a person is of an item after seeing ``seen[:upto]``."""
    things, habits = truth.things, truth.habits
    total = 0.0
    for k in range(upto):
        if seen[k] == item:
            total += habits.fatigue_item
        if things.author[seen[k]] == things.author[item]:
            total += habits.fatigue_author
        if things.category[seen[k]] == things.category[item]:
            total += habits.fatigue_category
    return min(total, habits.fatigue_most)
