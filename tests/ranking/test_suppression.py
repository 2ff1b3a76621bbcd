"""What a person was shown or bought is not shown again, until there is nothing else, and then in a stated order."""

import shutil
from pathlib import Path

import pytest

from features.records import Action, Control, Event, Item, Kind
from ranking import Engine, Feed, FeedRequest
from ranking.request.ladder import Budget
from tests.small_home import NOW

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
STAYS_MS = 1000


def page(engine: Engine, at_ms: int = NOW, count: int = 10, user: str = "u1", seen: tuple[str, ...] = ()) -> Feed:
    return engine.feed(FeedRequest(user_id=user, count=count, seen=seen), at_ms, f"r{at_ms}-{count}-{len(seen)}")


def ids(feed: Feed) -> list[str]:
    return [item.item_id for item in feed.items]


def shown(feed: Feed, at_ms: int, user: str = "u1") -> list[Event]:
    return [Event(f"{user}-{at_ms}-{name}", at_ms, name, Action.IMPRESSION, user) for name in ids(feed)]


def opened(home: Path, rule: str = "") -> Engine:
    (home / "policy.toml").write_text(f'room_ttl = "9d"\n[suppress]\n{rule}', "utf-8")
    return Engine.open(home)


@pytest.mark.parametrize("off", [False, True], ids=["personal", "switched off"])
def test_scrolling_on_shows_everything_once_and_then_nothing(home: Path, *, off: bool) -> None:
    with opened(home) as engine:
        if off:
            engine.append([Control("u1", NOW, "personalisation_off")], NOW)
        found: list[str] = []
        feed = page(engine, count=1)
        for number in range(6):
            at_ms = NOW + number * MINUTE_MS
            feed = page(engine, at_ms)
            found += ids(feed)
            assert feed.relaxed in {(), ("product 3/10",), ("room 6/10",), ("room 6/10", "product 3/10")}
            engine.append(shown(feed, at_ms), at_ms)
        assert len(found) == len(set(found)) == 40
        assert feed.items == ()
        assert feed.dropped == {"session": 40}


def test_what_is_on_the_screen_is_not_repeated_before_its_impressions_are_sent(home: Path) -> None:
    with opened(home) as engine:
        first = ids(page(engine, count=15))
        second = ids(page(engine, count=15, seen=(*first, "unheard-of")))
        assert len(second) == 15
        assert not set(first) & set(second)
        assert ids(page(engine, count=15, user="", seen=tuple(first))) != []
        assert not set(first) & set(ids(page(engine, count=15, user="", seen=tuple(first))))


def test_a_session_goes_on_while_no_pause_is_long_and_then_is_over(home: Path) -> None:
    with opened(home, 'session = "30m"\nseen = "1m"\n') as engine:
        first = page(engine)
        engine.append(shown(first, NOW), NOW)
        later = NOW + 25 * MINUTE_MS
        engine.append(shown(page(engine, later), later), later)
        # 50 minutes after the first page, but never a pause of more than 25.
        assert not set(ids(first)) & set(ids(page(engine, NOW + 50 * MINUTE_MS)))
        assert set(ids(first)) & set(ids(page(engine, NOW + 2 * HOUR_MS)))


def test_what_was_seen_comes_back_after_its_window_and_what_was_bought_after_a_longer_one(home: Path) -> None:
    with opened(home, 'session = "5m"\nseen = "2h"\nbought = "24h"\n') as engine:
        engine.append([Event("s", NOW, "i2", Action.IMPRESSION, "u1"), Event("o", NOW, "i1", Action.ORDER, "u1")], NOW)
        soon, later, after = (ids(page(engine, NOW + hours * HOUR_MS, 30)) for hours in (1, 3, 25))
        assert "i2" not in soon
        assert "i1" not in soon
        assert "i2" in ids(page(engine, NOW + 3 * HOUR_MS, 40))
        assert "i1" not in later
        assert "i1" in ids(page(engine, NOW + 25 * HOUR_MS, 40)) or "i1" in after


def test_an_exhausted_catalogue_gives_way_in_the_stated_order_the_longest_ago_first(home: Path) -> None:
    rule = 'session = "5m"\nseen = "24h"\nbought = "24h"\n'
    with opened(home, rule) as engine:
        early, late = [f"i{n}" for n in range(2, 20)], [f"i{n}" for n in range(20, 40)]
        engine.append([Event(f"a{name}", NOW, name, Action.IMPRESSION, "u1") for name in early], NOW)
        at_ms = NOW + HOUR_MS
        engine.append([Event(f"b{name}", at_ms, name, Action.IMPRESSION, "u1") for name in late], at_ms)
        engine.append([Event("o", at_ms, "i1", Action.ORDER, "u1")], at_ms)
        now = NOW + 2 * HOUR_MS
        # One is left, i0; what is missing comes of what was seen first.
        feed = page(engine, now, 10)
        assert set(ids(feed)) <= {"i0", *early}
        assert len(ids(feed)) == 10
        assert "seen" in feed.relaxed
        assert "bought" not in feed.relaxed
        assert feed.dropped == {"seen": 29, "bought": 1}
        everything = page(engine, now, 40)
        assert len(ids(everything)) == 40
        assert everything.relaxed[:2] == ("seen", "bought")


def test_a_policy_may_let_a_session_give_way_or_nothing(home: Path) -> None:
    with opened(home, "gives_way = []") as engine:
        engine.append([Event(f"a{n}", NOW - 2 * HOUR_MS, f"i{n}", Action.IMPRESSION, "u1") for n in range(40)], NOW)
        assert len(ids(page(engine))) == 10
    with opened(home, 'gives_way = []\nseen = "3h"') as engine:
        assert ids(page(engine)) == []
    with opened(home, 'gives_way = ["session"]\nsession = "3h"') as engine:
        feed = page(engine)
        assert len(ids(feed)) == 10
        assert feed.relaxed[0] == "session"


def test_with_personalisation_off_only_the_session_is_remembered(home: Path) -> None:
    with opened(home, 'session = "5m"\nseen = "24h"\nbought = "24h"\n') as engine:
        engine.append([Event("s", NOW, "i2", Action.IMPRESSION, "u1"), Event("o", NOW, "i1", Action.ORDER, "u1")], NOW)
        assert page(engine, NOW + HOUR_MS).dropped == {"seen": 1, "bought": 1}
        engine.append([Control("u1", NOW, "personalisation_off")], NOW)
        assert page(engine, NOW + HOUR_MS).dropped == {}


def test_after_the_history_is_cleared_nothing_is_remembered_but_what_was_hidden(home: Path) -> None:
    with opened(home) as engine:
        first = page(engine)
        engine.append([*shown(first, NOW), Control("u1", NOW, "hide_item", "i2")], NOW)
        assert page(engine).dropped == {"hidden": 1, "session": len(set(ids(first)) - {"i2"})}
        engine.append([Control("u1", NOW, "clear_history")], NOW)
        assert page(engine).dropped == {"hidden": 1}


def test_every_item_says_why_it_is_there_and_explained_what_it_is_near_to(home: Path) -> None:
    with opened(home) as engine:
        engine.append([Event("l", NOW, "i7", Action.LIKE, "u1")], NOW)
        assert all(item.why.endswith(".") for item in page(engine).items)
        feed = engine.feed(FeedRequest(user_id="u1", count=40, explain=True), NOW, "why")
        near = [item for item in feed.items if item.source in {"live", "products", "videos"} and "i7" in item.why]
        assert near
        assert all(item.why.endswith("near what you liked lately: i7.") for item in near)
        engine.append([Control("u1", NOW, "personalisation_off")], NOW)
        off = engine.feed(FeedRequest(user_id="u1", count=40, explain=True), NOW, "why")
        assert not any("i7" in item.why for item in off.items)


CATALOGUE = 400


def many(home: Path, rule: str = "") -> Engine:
    (home / "policy.toml").write_text(f'room_ttl = "9d"\ncandidates = 1000\n[suppress]\n{rule}', "utf-8")
    engine = Engine.open(home)
    more = [
        Item(f"m{n}", NOW, Kind.VIDEO, author_id=f"a{n % 10}", category="c", price=n, live_from_ms=NOW - 1000 * n - 1)
        for n in range(CATALOGUE - 40)
    ]
    engine.append(more, NOW)
    return engine


def scrolled(engine: Engine, pages: range) -> list[str]:
    """What pages of twenty gave, half a minute apart, each reported before the next is asked for."""
    found: list[str] = []
    for number in pages:
        at_ms = NOW + 30_000 * number
        feed = page(engine, at_ms, 20)
        engine.append(shown(feed, at_ms), at_ms)
        found += ids(feed)
    return found


@pytest.mark.parametrize("off", [False, True], ids=["personal", "switched off"])
def test_a_session_that_scrolls_all_of_a_large_catalogue_meets_nothing_twice(home: Path, *, off: bool) -> None:
    with many(home) as engine:
        if off:
            engine.append([Control("u1", NOW, "personalisation_off")], NOW)
        found = scrolled(engine, range(9))
    # The rest of a long session outlives a restart, by snapshot and by the log alone.
    if off:
        shutil.rmtree(home / "state")
    with Engine.open(home) as engine:
        found += scrolled(engine, range(9, 20))
        assert len(found) == len(set(found)) == CATALOGUE
        after = page(engine, NOW + 30_000 * 20, 20)
        assert (after.items, after.dropped) == ((), {"session": CATALOGUE})
        # Half an hour later the session is over, and so is what it remembered.
        assert len(page(engine, NOW + 30_000 * 20 + HOUR_MS, 20).items) == 20


def test_a_long_session_that_may_give_way_begins_with_what_was_shown_longest_ago(home: Path) -> None:
    with many(home, 'gives_way = ["seen", "bought", "session"]') as engine:
        found = scrolled(engine, range(20))
        feed = page(engine, NOW + 30_000 * 20, 20)
        assert set(ids(feed)) == set(found[:20])
        assert feed.relaxed[0] == "session"


def test_what_a_page_gave_and_nobody_reported_is_asked_for_by_naming_it(home: Path) -> None:
    with many(home) as engine:
        first = page(engine, count=20)
        engine.flush()
        # The page is in the log, its impressions are not: the log does not say that anybody saw them.
        assert ids(page(engine, count=20)) == ids(first)
        assert not set(ids(first)) & set(ids(page(engine, count=20, seen=tuple(ids(first)))))


def test_only_the_person_who_scrolled_far_is_spared_what_was_shown(home: Path) -> None:
    with many(home) as engine:
        mine = scrolled(engine, range(10))
        other = page(engine, NOW + 30_000 * 10, 200, user="u2")
        assert set(mine) & set(ids(other))
        engine.append([Control("u1", NOW + 300_000, "clear_history")], NOW + 300_000)
        assert page(engine, NOW + 30_000 * 10, 20).dropped == {}


@pytest.mark.parametrize("sources", ["", 'sources = ["live", "products", "videos"]\n'], ids=["all", "personal"])
def test_scrolling_goes_on_below_the_first_candidates_until_everything_was_shown(home: Path, sources: str) -> None:
    (home / "policy.toml").write_text(f'candidates = 3\nroom_ttl = "9d"\n{sources}', "utf-8")
    with Engine.open(home) as engine:
        found: list[str] = []
        for number in range(4):
            feed = page(engine, NOW + number * MINUTE_MS)
            assert len(feed.items) == 10
            found += ids(feed)
            engine.append(shown(feed, NOW + number * MINUTE_MS), NOW + number * MINUTE_MS)
        assert len(set(found)) == 40
        end = page(engine, NOW + 5 * MINUTE_MS)
        assert end.items == ()
        assert end.dropped == {"session": 40}


def test_what_was_never_shown_comes_before_what_was_seen_gives_way(home: Path) -> None:
    rule = 'candidates = 3\nroom_ttl = "9d"\n[suppress]\nsession = "5m"\nseen = "24h"\n'
    (home / "policy.toml").write_text(rule, "utf-8")
    with Engine.open(home) as engine:
        first = page(engine)
        engine.append(shown(first, NOW), NOW)
        second = page(engine, NOW + HOUR_MS, 30)
        assert len(second.items) == 30
        assert not set(ids(first)) & set(ids(second))
        assert "seen" not in second.relaxed


def test_a_page_out_of_time_does_not_look_deeper(home: Path) -> None:
    (home / "policy.toml").write_text('candidates = 3\nroom_ttl = "9d"\n', "utf-8")
    with Engine.open(home) as engine:
        first = page(engine)
        engine.append(shown(first, NOW), NOW)
        clock = iter(range(1000, 0, -100))
        hurried = engine.feed(FeedRequest(user_id="u1", count=30), NOW, "hurried", Budget(lambda: float(next(clock))))
        assert 0 < len(page(engine).items) == 10
        assert len(hurried.items) < 30
