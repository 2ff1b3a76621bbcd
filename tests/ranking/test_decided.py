"""What the policy decides by the state, on an engine's pages: rules, quality floors, terms, commerce."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import msgspec
import pytest

from features.logs.log import DAY_MS
from features.records import Action, Control, Event, Item, Kind, Record
from ranking import Engine, Feed, FeedRequest, RankRequest
from ranking.api import AliveRequest
from ranking.policy import Policy, parse
from ranking.policy.dates import milliseconds
from tests.small_home import NOW

DAY = NOW // DAY_MS * DAY_MS + DAY_MS // 2
AUTUMN = Path(__file__).parents[2] / "docs" / "examples" / "autumn-2020.toml"
TASK_MS = milliseconds(datetime.fromisoformat("2020-09-06T00:00:00+08:00"))
CARTS_MS = milliseconds(datetime.fromisoformat("2020-10-09T00:00:00+08:00"))


@contextmanager
def engine_of(home: Path, policy: str) -> Iterator[Engine]:
    (home / "policy.toml").write_text(policy, "utf-8")
    with Engine.open(home) as engine:
        yield engine


def moved(policy: Policy, by_ms: int) -> str:
    """The rules of a policy at other dates, as a text; the small home lives in 2024."""
    lines = []
    for rule in policy.rules:
        lines += ["[[rules]]", f"name = {rule.name!r}", f"kinds = {[str(kind) for kind in rule.kinds]}"]
        lines += [f"shop = {rule.shop!r}", f"unless = {rule.unless!r}"]
        for name, moment in (("from", rule.begins), ("until", rule.until)):
            if moment:
                at = datetime.fromtimestamp((milliseconds(moment) + by_ms) / 1000, tz=moment.tzinfo)
                lines.append(f"{name} = {at.isoformat()}")
    return "\n".join(lines)


def shop(name: str, of: str, task: bool = False) -> list[Record]:
    """A product, and a room, a video and nothing else that sell it."""
    made = NOW - 1000
    return [
        Item(f"room-{name}", made, Kind.ROOM, author_id=f"host-{name}", category="c", products=(f"p-{name}",)),
        Item(f"video-{name}", made, Kind.VIDEO, author_id=f"host-{name}", category="c", products=(f"p-{name}",)),
        Item(f"p-{name}", made, Kind.PRODUCT, shop="own" if of == "own" else "third_party", category="c",
             attributes={"marketplace_task": 1.0} if task else {}),
        Event(f"start-{name}", made, f"room-{name}", Action.ROOM_START),
    ]  # fmt: skip


SHOPS = [*shop("own", "own"), *shop("task", "third", task=True), *shop("third", "third")]


def shown(engine: Engine, now_ms: int, surface: str = "feed") -> set[str]:
    names = (*(one.item_id for one in SHOPS if isinstance(one, Item)), "room-x")
    found = engine.rank(RankRequest(item_ids=names, surface=surface), now_ms, "shown")
    return {item.item_id for item in found.items}


def page(engine: Engine, now_ms: int = NOW, surface: str = "feed", count: int = 20, user: str = "u1") -> Feed:
    request = FeedRequest(user_id=user, count=count, surface=surface)
    return engine.feed(request, now_ms, f"{user}-{surface}-{now_ms}")


def test_the_two_dates_of_2020_bar_live_rooms_step_by_step_and_nothing_else(home: Path) -> None:
    autumn = parse(AUTUMN.read_text("utf-8"))
    assert [rule.holds(TASK_MS - 1) for rule in autumn.rules] == [False, False]
    assert [rule.holds(TASK_MS) for rule in autumn.rules] == [True, False]
    assert [rule.holds(CARTS_MS - 1) for rule in autumn.rules] == [True, False]
    assert [rule.holds(CARTS_MS) for rule in autumn.rules] == [False, True]
    by_ms = NOW + 10_000 - TASK_MS
    rules = "room_ttl = '9999h'\n" + moved(autumn, by_ms)
    untouched = {f"{kind}-{name}" for kind in ("video", "p") for name in ("own", "task", "third")} | {"room-own"}
    with engine_of(home, rules) as engine:
        engine.append(SHOPS, NOW)
        for at_ms, more in (
            (TASK_MS - 1, {"room-task", "room-third"}),
            (TASK_MS, {"room-task"}),
            (CARTS_MS - 1, {"room-task"}),
            (CARTS_MS, set()),
        ):
            assert shown(engine, at_ms + by_ms) == untouched | more
        rooms = RankRequest(item_ids=("room-own", "room-task", "room-third"))
        assert engine.rank(rooms, CARTS_MS + by_ms, "r").dropped == {"rule no third party in live carts": 2}
        assert engine.rank(rooms, TASK_MS + by_ms, "r").dropped == {"rule marketplace task": 1}
        fetched = AliveRequest(item_ids=rooms.item_ids)
        assert engine.alive(fetched, TASK_MS + by_ms).gone == {"room-third": "rule marketplace task"}


RULE = '[[rules]]\nname = "r"\nkinds = ["room"]\nshop = "third_party"\nunless = "task"\n'


def test_a_room_is_judged_by_its_cart_and_pin_as_they_are_now(home: Path) -> None:
    product = Item("p", NOW, Kind.PRODUCT, shop="third_party")
    with engine_of(home, RULE + "surfaces = ['plaza']") as engine:
        room = Item("room-x", NOW, Kind.ROOM, author_id="x", products=("p",))
        engine.append([room, Event("s", NOW, "room-x", Action.ROOM_START)], NOW)
        # The catalog has not described the product: nothing is known against it.
        assert "room-x" in shown(engine, NOW, "plaza")
        engine.append([product], NOW)
        assert "room-x" not in shown(engine, NOW, "plaza")
        assert "room-x" in shown(engine, NOW)
        engine.append([msgspec.structs.replace(product, attributes={"task": "yes"})], NOW)
        assert "room-x" in shown(engine, NOW, "plaza")
        engine.append([msgspec.structs.replace(room, products=()), product], NOW)
        assert "room-x" in shown(engine, NOW, "plaza")
        engine.append([Event("pin", NOW, "p", Action.ROOM_PIN, via_item_id="room-x")], NOW)
        assert "room-x" not in shown(engine, NOW, "plaza")


def test_rules_hold_after_a_restart_and_under_a_policy_taken_up_while_serving(home: Path) -> None:
    with engine_of(home, "") as engine:
        engine.append(SHOPS, NOW)
        assert "room-third" in shown(engine, NOW)
        engine.go_by(parse(RULE), lambda: NOW)
        assert "room-third" not in shown(engine, NOW)
        assert engine.status(NOW).policy == parse(RULE).version
        assert engine.status(NOW).policy_since_ms == NOW
    with engine_of(home, RULE) as engine:
        assert "room-third" not in shown(engine, NOW)


def sold(product: str, number: int, action: Action) -> Event:
    return Event(f"{product}-{action}-{number}", NOW, product, action, "u2")


def test_quality_sinks_what_is_sent_back_and_blocks_what_always_is(home: Path) -> None:
    floor = '[[quality]]\nrate = "refund"\nof = "item"\nprior = 5\ndemote_from = 0.3\nblock_from = 0.7\ndemote = 2.0'
    orders = [sold(name, n, Action.ORDER) for name in ("i1", "i5", "i9") for n in range(20)]
    with engine_of(home, floor) as engine:
        engine.append([*orders, *(sold("i5", n, Action.REFUND) for n in range(14))], NOW)
        engine.append([sold("i9", n, Action.REFUND) for n in range(20)], NOW)
        found = page(engine, surface="mall", count=40)
        terms = {item.item_id: item.terms["quality"] for item in found.items}
        assert terms["i1"] == 0.0
        # (14 + 5 * 34/60) / 25, above .3 by so much of .4
        rate = (14 + 5 * 34 / 60) / 25
        assert terms["i5"] == pytest.approx(-2.0 * (rate - 0.3) / 0.4, rel=1e-5)
        assert "i9" not in terms
        assert found.dropped["quality"] == 1
        for item in found.items:
            assert item.value == pytest.approx(sum(item.terms.values()), rel=1e-12)


def test_what_was_never_ordered_is_not_blocked_for_what_others_sent_back(home: Path) -> None:
    floor = '[[quality]]\nrate = "refund"\nof = "item"\ndemote_from = 0.3\nblock_from = 0.7\ndemote = 2.0'
    with engine_of(home, floor) as engine:
        engine.append([sold("i9", n, action) for n in range(40) for action in (Action.ORDER, Action.REFUND)], NOW)
        found = page(engine, surface="mall", count=40)
        assert found.dropped["quality"] == 1
        assert {item.terms["quality"] for item in found.items} == {0.0}


def test_after_sales_of_a_merchant_counts_refunds_and_complaints(home: Path) -> None:
    floor = '[[quality]]\nrate = "after_sales"\nof = "merchant"\nprior = 1\ndemote_from = 0.5\nblock_from = 0.9'
    goods = [Item(f"m{n}", NOW, Kind.PRODUCT, merchant_id="bad" if n < 2 else "good") for n in range(4)]
    bad = [sold("m0", n, action) for n in range(9) for action in (Action.ORDER, Action.COMPLAINT)]
    good = [sold("m2", n, Action.ORDER) for n in range(9)]
    with engine_of(home, floor) as engine:
        engine.append([*goods, *bad, *good], NOW)
        found = engine.rank(RankRequest(item_ids=("m0", "m1", "m2", "m3")), NOW, "r")
        assert {item.item_id for item in found.items} == {"m2", "m3"}
        assert found.dropped == {"quality": 2}


def test_fees_and_shops_are_terms_of_what_sells_by_date(home: Path) -> None:
    text = """
[terms]
own_shop = 0.5
kol = -0.25
[fees]
weight = 2.0
table = [{ shop = "third_party", fee = 0.2, from = 2024-10-04T08:00:00+08:00 }]
"""
    began_ms = milliseconds(datetime.fromisoformat("2024-10-04T08:00:00+08:00"))
    assert began_ms == NOW
    kol = Item("room-kol", NOW - 1000, Kind.ROOM, author_id="k", room_type="kol")
    with engine_of(home, text) as engine:
        pin = Event("pin", NOW - 1000, "p-own", Action.ROOM_PIN, via_item_id="room-kol")
        engine.append([*SHOPS, kol, Event("s", NOW - 1000, "room-kol", Action.ROOM_START), pin], NOW)
        names = ("p-third", "p-own", "room-kol", "room-own")
        now, before = (
            {item.item_id: item.terms for item in engine.rank(RankRequest(item_ids=names), at_ms, "r").items}
            for at_ms in (NOW, NOW - 1)
        )
        assert (now["p-third"]["fee"], now["p-own"]["fee"]) == (0.4, 0.0)
        assert before["p-third"]["fee"] == 0.0
        assert (now["p-own"]["shop"], now["room-kol"]["shop"], now["room-own"]["shop"]) == (0.5, 0.25, 0.0)


def test_a_policy_without_terms_adds_none(home: Path) -> None:
    with engine_of(home, "") as engine:
        assert all(item.terms.keys() == item.heads.keys() for item in page(engine).items)


def test_commerce_served_to_a_person_within_a_day_is_bounded_and_counted_again_after_a_restart(home: Path) -> None:
    text = '[surfaces.feed]\nbounds = [{ of = "commerce", at_most = 6, window = "day" }]'
    day_ms = NOW // DAY_MS * DAY_MS + DAY_MS // 2
    with engine_of(home, text) as engine:
        first = page(engine, day_ms, count=8)
        assert sum(item.sells for item in first.items) <= 6
        assert not first.relaxed
        engine.flush()
        second = page(engine, day_ms + 1, count=8)
        both = [item for one in (first, second) for item in one.items]
        assert sum(item.sells for item in both) == 6
        other = page(engine, day_ms, count=8, user="u9")
        assert sum(item.sells for item in other.items) > 0
    with engine_of(home, text) as engine:
        third = page(engine, day_ms + 2, count=8)
        assert not any(item.sells for item in third.items)
        engine.append([Item("new", day_ms, Kind.PRODUCT, live_from_ms=day_ms + DAY_MS)], day_ms)
        assert any(item.sells for item in page(engine, day_ms + DAY_MS, count=8).items)


@pytest.mark.parametrize("writes", [False, True], ids=["waiting", "written"])
def test_the_bound_over_a_day_counts_pages_from_when_they_are_answered(home: Path, *, writes: bool) -> None:
    text = '[surfaces.feed]\nbounds = [{ of = "commerce", at_most = 6, window = "day" }]'
    with engine_of(home, text) as engine:
        pages = []
        for number in range(5):
            pages.append(page(engine, DAY + number, count=8))
            if writes:
                engine.flush()
        assert sum(item.sells for one in pages for item in one.items) == 6
        assert {one.relaxed for one in pages} == {()}
        engine.flush()
        assert not any(item.sells for item in page(engine, DAY + 6, count=8).items)


def test_a_page_of_rank_counts_for_the_day_as_well_and_one_that_a_reader_makes_does_not(home: Path) -> None:
    text = '[surfaces.feed]\nbounds = [{ of = "commerce", at_most = 6, window = "day" }]'
    with engine_of(home, text) as engine:
        named = engine.rank(RankRequest(user_id="u1", item_ids=("i1", "i5", "i9", "i13")), DAY, "named")
        assert sum(item.sells for item in named.items) == 4
        assert sum(item.sells for item in page(engine, DAY + 1, count=8).items) == 2
    with Engine.open(home, writer=False) as reader:
        assert page(reader, DAY + DAY_MS, count=8).items == page(reader, DAY + DAY_MS, count=8).items


def test_who_is_erased_while_pages_wait_leaves_no_count_behind(home: Path) -> None:
    text = '[surfaces.feed]\nbounds = [{ of = "commerce", at_most = 6, window = "day" }]'
    with engine_of(home, text) as engine:
        sold = sum(item.sells for item in page(engine, DAY, count=20).items)
        engine.erase("u1", DAY)
        assert sum(item.sells for item in page(engine, DAY + 1, count=20).items) == sold == 6
        engine.flush()
        load, waiting = engine.generation.load, engine._journal.waiting
        assert [waiting.of(load, user, DAY) for user in ("u1", "")] == [(0, 0, 0)] * 2


def test_head_hosts_share_no_more_than_their_slots(home: Path) -> None:
    text = '[head_hosts]\nshare = 0.5\n[surfaces.feed]\nbounds = [{ of = "head_host", at_most = 1, window = 20 }]'
    seen = [Event(f"seen{n}", NOW, "i3", Action.IMPRESSION, "u2") for n in range(30)]
    with engine_of(home, text) as engine:
        engine.append(seen, NOW)
        found = page(engine)
        assert sum(item.author_id == "a3" for item in found.items) == 1
        assert not found.relaxed


def test_hides_and_rules_are_told_apart(home: Path) -> None:
    with engine_of(home, '[[rules]]\nname = "none"\nkinds = ["product"]') as engine:
        engine.append([Control("u1", NOW, "hide_item", "i1")], NOW)
        dropped = page(engine).dropped
        assert dropped["hidden"] == 1
        assert dropped["rule none"] > 0


def test_an_explained_page_says_what_value_was_given_up_for_terms_and_for_composition(home: Path) -> None:
    liked = [Event(f"like{n}", NOW, "i7", Action.LIKE, "u1") for n in range(3)]
    asked = FeedRequest(user_id="u1", count=5, explain=True)
    free = "[surfaces.feed]\nbounds = []\n"
    with engine_of(home, free) as engine:
        engine.append(liked, NOW)
        assert engine.feed(asked, NOW, "r").given_up == {"terms": 0.0, "page": 0.0}
        engine.go_by(parse(free + "[terms]\nmerchant = 4.0"), lambda: NOW)
        assert engine.feed(asked, NOW, "r").given_up["page"] == 0.0
        engine.go_by(parse('[surfaces.feed]\nbounds = [{ of = "author", at_most = 1, window = 5 }]'), lambda: NOW)
        found = engine.feed(asked, NOW, "r").given_up
        assert found["terms"] == 0.0
        assert found["page"] > 0.0
        assert engine.feed(FeedRequest(user_id="u1"), NOW, "r").given_up == {}
