"""The share of a day's slots that sell is held at its target, whatever traffic does."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.logs.log import DAY_MS
from features.records import Action, Event, Item, Record
from ranking import Engine, FeedRequest
from ranking.mixing.mixer import best_first
from ranking.policy.load import Commerce
from tests.small_home import NOW


def day(rule: Commerce, moods: list[float], pages: int, seed: int) -> float:
    """The share that sold of a day whose people turn to commerce by mood after mood, in units of value."""
    rng = np.random.default_rng(seed)
    slots = selling = 0
    rows = np.arange(60, dtype=np.int32)
    for number in range(pages):
        mood = moods[number * len(moods) // pages]
        sells = rng.random(60) < 0.5
        value = rng.standard_normal(60) + (mood + rule.term(slots, selling)) * sells
        page = best_first(value, rows)[:10]
        slots, selling = slots + 10, selling + int(sells[page].sum())
    return selling / slots


@settings(max_examples=20)
@given(st.lists(st.floats(-1.5, 1.5), min_size=1, max_size=4), st.floats(0.2, 0.6), st.integers(0, 1000))
def test_a_day_of_shifting_moods_ends_within_a_point_of_the_target(
    moods: list[float], target: float, seed: int
) -> None:
    rule = Commerce(target, most=6.0, response=300, surfaces=("feed",))
    assert day(rule, moods, 3_000, seed) == pytest.approx(target, abs=0.01)


def test_without_it_the_share_goes_with_the_mood() -> None:
    free = Commerce(0.3, most=0.0, response=300, surfaces=("feed",))
    assert day(free, [1.0], 1_000, 0) > 0.6


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_the_term_is_bounded_and_zero_where_a_day_begins(slots: int, selling: int) -> None:
    rule = Commerce(0.3, most=2.0, response=300, surfaces=("feed",))
    assert abs(rule.term(slots, min(selling, slots))) <= 2.0
    assert rule.term(0, 0) == 0.0


TARGET = 0.4
POLICY = f"""
room_ttl = "9d"
[surfaces.feed]
bounds = []
[commerce]
target = {TARGET}
response = 40
most = """
PAGES = 240
MORNING = NOW // DAY_MS * DAY_MS + DAY_MS // 4


def shift(engine: Engine, number: int, now_ms: int) -> list[Record]:
    """What changes in the course of a day: rooms pin goods, goods sell out and come back, people turn to them."""
    rooms, goods = ([f"i{n}" for n in range(of, 40, 4)] for of in (0, 1))
    if number == PAGES // 4:
        return [Event(f"p{room}", now_ms, goods[0], Action.ROOM_PIN, via_item_id=room) for room in rooms]
    if number in {PAGES // 2, 5 * PAGES // 8}:
        stock = 0 if number == PAGES // 2 else -1
        known = [engine.item(name) for name in goods[2:]]
        return [Item(one.item_id, now_ms, one.kind, one.title, author_id=one.author_id, category="c",
                     live_from_ms=one.live_from_ms, stock=stock) for one in known]  # fmt: skip
    if number == 3 * PAGES // 4:
        return [Event(f"l{n}-{name}", now_ms, name, Action.LIKE, f"u{n}") for n in range(9) for name in goods]
    return []


def share_of_a_day(home: Path, most: float, *, flushes: bool) -> float:
    """The share that sold of an engine's pages of a day whose supply and people shift."""
    (home / "policy.toml").write_text(POLICY + str(most), "utf-8")
    slots = selling = 0
    with Engine.open(home) as engine:
        for number in range(PAGES):
            now_ms = MORNING + 60_000 * number
            if records := shift(engine, number, now_ms):
                engine.append(records, now_ms)
            # People come and go: few and many slots, one person often or many once.
            user, count = f"u{number % (1 + number // 20)}", (5, 20, 10)[number % 3]
            feed = engine.feed(FeedRequest(user_id=user, count=count), now_ms, f"r{number}")
            slots, selling = slots + len(feed.items), selling + sum(item.sells for item in feed.items)
            if flushes:
                engine.flush()
    return selling / slots


@pytest.mark.parametrize("flushes", [True, False], ids=["written", "waiting"])
def test_an_engine_holds_the_share_of_a_day_within_a_point_under_shifts(home: Path, *, flushes: bool) -> None:
    assert share_of_a_day(home, 12.0, flushes=flushes) == pytest.approx(TARGET, abs=0.01)


def test_an_engine_without_it_goes_with_what_there_is(home: Path) -> None:
    assert abs(share_of_a_day(home, 0.0, flushes=False) - TARGET) > 0.05
