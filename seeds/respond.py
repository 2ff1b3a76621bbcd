"""A person goes down a page: what is looked at, watched and done, in time order, as events."""

import math

import numpy as np
from numba import njit

from features.layout import ACTIONS
from features.outcomes import PRODUCT
from features.records import Action, Context, Event
from features.types import DoubleArray, IntArray, RowArray
from seeds import words
from seeds.cast import Cast
from seeds.truth import (
    AFTER,
    AMOUNT,
    CART,
    CLICK,
    COMPLAINT,
    DELAYED,
    EXAMINED,
    GIFT,
    HIDE,
    IMPRESSION,
    LATE,
    LIKE,
    ORDER,
    PICKED,
    REFUND,
    REPORT,
    WATCH,
    WATCHED,
    Truth,
    bell,
    fatigue_of,
    luck,
    probabilities,
    sigmoid,
    sold,
)

TS, RECEIVED, ITEM, VIA, ACTION, VALUE, POSITION, NUMBER, VISIT = range(9)
"""The columns of what ``answer`` writes: rows of items, action codes, the number on the page, the visit's row."""
FIELDS = 9
MOST_EVENTS = 14
"""A slot brings at most one event of each action."""
LOADING_MS, SCROLL_MS = 300, 400


@njit(nogil=True, cache=True)
def write(
    truth: Truth, out: IntArray, end: int, user: int, visit: int, ts: int, item: int, via: int, action: int, value: int
) -> int:
    """Put an event after the others; position, number and visit's row are filled in by the caller."""
    habits = truth.habits
    delay = 20.0 - habits.delay_ms * math.log(luck(truth.seed, user, item, visit, DELAYED * 64 + action))
    if luck(truth.seed, user, item, visit, LATE * 64 + action) < habits.late:
        delay += habits.late_ms * luck(truth.seed, user, item, visit, (LATE + 8) * 64 + action)
    row = out[end]
    row[TS], row[RECEIVED], row[ITEM], row[VIA], row[ACTION], row[VALUE] = ts, ts + int(delay), item, via, action, value
    return end + 1


@njit(nogil=True, cache=True)
def buy(
    truth: Truth, user: int, item: int, visit: int, now_ms: int, ts: int, ordered: bool, out: IntArray, end: int
) -> int:
    """Put a product in the cart, perhaps order it, perhaps send it back or complain."""
    things, rates, habits, seed = truth.things, truth.rates, truth.habits, truth.seed
    product = sold(things, item, now_ms, luck(seed, user, item, visit, PICKED))
    via = item if product != item else -1
    end = write(truth, out, end, user, visit, ts, product, via, CART, 0)
    if not ordered:
        return end
    on_sale = habits.campaign_from_ms <= now_ms < habits.campaign_until_ms
    price = things.sale_price[product] if on_sale else things.price[product]
    end = write(truth, out, end, user, visit, ts + 5_000, product, via, ORDER, price)
    for action in (REFUND, COMPLAINT):
        x = rates.intercept[PRODUCT, action] + rates.quality[action] * things.quality[product]
        if luck(seed, user, item, visit, action) < sigmoid(x):
            later = math.exp(habits.after_log_ms + habits.after_sd * bell(seed, user, item, visit, AFTER + 64 * action))
            value = price if action == REFUND else 0
            end = write(truth, out, end, user, visit, ts + 5_000 + int(later), product, via, action, value)
    return end


@njit(nogil=True, cache=True)
def act(
    truth: Truth,
    user: int,
    item: int,
    visit: int,
    now_ms: int,
    ts: int,
    p: DoubleArray,
    watched: int,
    out: IntArray,
    end: int,
) -> int:
    """Write all that a person does at a slot looked at, but for the watch."""
    seed = truth.seed
    if luck(seed, user, item, visit, CLICK) < p[CLICK]:
        end = write(truth, out, end, user, visit, ts + min(800, watched // 10), item, -1, CLICK, 0)
        for action in range(LIKE, GIFT + 1):
            if luck(seed, user, item, visit, action) < p[action]:
                value = (
                    int(100.0 * math.exp(1.5 + 1.2 * bell(seed, user, item, visit, AMOUNT))) if action == GIFT else 0
                )
                moment = ts + watched * (action - 1) // 8
                end = write(truth, out, end, user, visit, moment, item, -1, action, value)
        if luck(seed, user, item, visit, CART) < p[CART]:
            ordered = luck(seed, user, item, visit, ORDER) < p[ORDER]
            end = buy(truth, user, item, visit, now_ms, ts + watched * 7 // 8, ordered, out, end)
    for action in (HIDE, REPORT):
        if luck(seed, user, item, visit, action) < p[action]:
            end = write(truth, out, end, user, visit, ts + watched * 9 // 10, item, -1, action, 0)
    return end


@njit(nogil=True, cache=True)
def answer(
    truth: Truth,
    user: int,
    visit: int,
    now_ms: int,
    surface: int,
    seen: RowArray,
    old: int,
    out: IntArray,
    end: int,
    row: int,
) -> int:
    """Write the events of one page from ``out[end]`` on; returns their end.

    ``seen[:old]`` are items seen before in the session, ``seen[old:]`` is the page. ``out`` (m, FIELDS) has room for
    MOST_EVENTS a slot. ``row`` is noted as the visit's.
    """
    p = np.empty(REPORT + 1)
    first, ts = end, now_ms + LOADING_MS
    for position in range(len(seen) - old):
        item, begin = seen[old + position], end
        end = write(truth, out, end, user, visit, ts, item, -1, IMPRESSION, 0)
        watched = 0
        if luck(truth.seed, user, item, visit, EXAMINED) * (1.0 + truth.habits.examination * position) < 1.0:
            fatigue = fatigue_of(truth, item, seen, old + position)
            mean = probabilities(truth, user, item, now_ms, surface, fatigue, p)
            if p[CLICK] > 0.0:
                w = truth.rates.watch[truth.things.kind[item]]
                if luck(truth.seed, user, item, visit, CLICK) < p[CLICK]:
                    mean += w[4]
                length = math.exp(mean + w[5] * bell(truth.seed, user, item, visit, WATCHED))
                watched = min(int(length), truth.habits.watch_most_ms)
                end = act(truth, user, item, visit, now_ms, ts, p, watched, out, end)
                end = write(truth, out, end, user, visit, ts + watched, item, -1, WATCH, watched)
        ts += watched + SCROLL_MS
        out[begin:end, POSITION] = position
    for k in range(first, end):
        out[k, NUMBER], out[k, VISIT] = k - first, row
    return end


def events_of(
    cast: Cast, user: int, surface: str, request_id: str, prefix: str, rows: IntArray
) -> list[tuple[int, Event]]:
    """Rows that ``answer`` wrote as (received_ms, event), by reception, then as written."""
    order = np.lexsort((rows[:, NUMBER], rows[:, RECEIVED]))
    user_id, ids = cast.user_ids[user], cast.item_ids
    device, tier = words.DEVICES[cast.people.device[user]], words.CITY_TIERS[cast.people.tier[user]]
    contexts = [
        Context(surface, device, tier, position) for position in range(int(rows[:, POSITION].max(initial=0)) + 1)
    ]
    return [
        (
            received,
            Event(
                event_id=f"{prefix}-{number}",
                ts_ms=ts,
                item_id=ids[item],
                action=Action(ACTIONS[action]),
                user_id=user_id,
                via_item_id=ids[via] if via >= 0 else "",
                value=value,
                request_id=request_id,
                context=contexts[position],
            ),
        )
        for ts, received, item, via, action, value, position, number, _ in rows[order].tolist()
    ]
