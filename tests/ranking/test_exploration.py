"""Exploration: who is new, what chance each has, and that lots fall as their logged chances say."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from benchmarks.explore import lots_of, of_slot
from features.logs.live import HomeLog
from features.logs.log import DAY_MS, from_batch
from features.records import Action, Context, Control, Event, Item, Kind, Served
from ranking import Engine, Feed, FeedRequest
from ranking.mixing.draws import beta
from ranking.mixing.exploration import HOUR_MS, Lottery
from tests.small_home import NOW

RULE = "[explore]\nrate = 1.0\nslots = [2, 5]\nepsilon = 0.2\ndraws = 50\n"


def explored(home: Path, rule: str = RULE) -> Engine:
    (home / "policy.toml").write_text(rule, "utf-8")
    return Engine.open(home)


def page(engine: Engine, request_id: str, user: str = "u1", count: int = 12) -> Feed:
    return engine.feed(FeedRequest(user_id=user, count=count), NOW, request_id)


def held(engine: Engine, user: str = "u1", now_ms: int = NOW) -> Lottery:
    """The draws that a page of a moment sees."""
    generation = engine.generation
    query = generation.query("any", user, 12, Context("feed", "", "", 0), now_ms)
    found, _ = generation.legal(query, generation.retrieve(query))
    lottery = generation.newcomers(query, generation.assemble(query, found))
    assert lottery is not None
    return lottery


def chances(engine: Engine, user: str = "u1", now_ms: int = NOW) -> dict[str, float]:
    """Of every newcomer, where all may stand."""
    lottery = held(engine, user, now_ms)
    q = lottery.chances(np.ones(len(lottery.rows), np.bool_))
    return {engine.generation.state.items.name(row): float(one) for row, one in zip(lottery.rows, q, strict=True)}


def mean_chances(engine: Engine) -> Counter[str]:
    """Over the hours after, whose draws differ."""
    return sum((Counter(chances(engine, now_ms=NOW + n * HOUR_MS)) for n in range(60)), Counter())


def watched(number: int, item: str, *, done: bool) -> list[Event]:
    shown = Event(f"s{number}", NOW - 500, item, Action.IMPRESSION, f"w{number}")
    return [shown, Event(f"e{number}", NOW - 400, item, Action.WATCH, f"w{number}", value=10**7 if done else 1)]


def test_where_nothing_explores_every_propensity_is_one(home: Path) -> None:
    with explored(home, "[explore]\nrate = 0.0\n") as engine:
        items = page(engine, "r").items
    assert {item.propensity for item in items} == {1.0}
    assert "explore" not in {item.source for item in items}


def test_lots_fall_slot_by_slot_on_thousands_of_pages_as_their_logged_chances_say(home: Path) -> None:
    names = [f"r{number}" for number in range(6_000)]
    with explored(home) as engine:
        lots = lots_of(engine.generation, "u1", NOW, names, 12)
        for name in names[:20]:
            drawn = [(item.item_id, item.propensity) for item in page(engine, name).items if item.source == "explore"]
            assert drawn == [(lot.item, lot.propensity) for lot in lots if lot.page == name]
    for slot in (2, 5):
        of_one = [lot for lot in lots if lot.slot == slot]
        assert len(of_one) == len(names)
        assert stats.chi2.sf(*of_slot(of_one)) > 1e-4
        # What falls otherwise than it says is found out: here as if the likeliest were half as likely again.
        most = max(lot.propensity for lot in of_one)
        bent = [lot._replace(propensity=1.5 * most) if lot.propensity == most else lot for lot in of_one]
        assert slot == 5 or stats.chi2.sf(*of_slot(bent)) < 1e-4


def test_lots_fall_in_slots_alone_as_their_chances_say(home: Path) -> None:
    with explored(home) as engine:
        lottery = held(engine)
    eligible = np.arange(len(lottery.rows)) % 3 > 0
    q = lottery.chances(eligible)
    fell = np.bincount([lottery.pick(q, f"r{number}", 2) for number in range(20_000)], minlength=len(q))
    assert fell[~eligible].sum() == 0
    assert stats.chisquare(fell[eligible], 20_000 * q[eligible]).pvalue > 1e-4


def test_the_served_record_holds_propensities_that_asking_again_gives(home: Path) -> None:
    with explored(home) as engine:
        first = page(engine, "r1")
        engine.flush()
    with HomeLog(home / "log", writer=False) as log:
        records = [stored.record for batch in log.read(first.read_offset) for stored in from_batch(batch)]
    (served,) = (record for record in records if isinstance(record, Served))
    drawn = {slot.item_id: slot.propensity for slot in served.slots if slot.source == "explore"}
    assert len(drawn) == 2
    assert all(0 < q < 1 for q in drawn.values())
    with Engine.open(home, writer=False) as reader:
        again = page(reader, "r1")
    assert {item.item_id: item.propensity for item in again.items if item.source == "explore"} == drawn
    assert again.policy == served.policy


def test_drawn_slots_stand_where_the_policy_says_and_break_no_bound(home: Path) -> None:
    bound = '[surfaces.feed]\nbounds = [{ of = "author", at_most = 1, window = 6 }]\n'
    with explored(home, RULE + bound) as engine:
        for number in range(30):
            feed = page(engine, f"r{number}")
            assert [at for at, item in enumerate(feed.items) if item.source == "explore"] == [2, 5]
            authors = [item.author_id for item in feed.items]
            assert feed.relaxed or all(len(set(authors[at : at + 6])) == 6 for at in range(7))
            assert len({item.item_id for item in feed.items}) == 12


def test_what_is_old_or_was_shown_enough_is_no_newcomer(home: Path) -> None:
    with explored(home, RULE + "enough = 3\n") as engine:
        new = Item("n1", NOW, Kind.VIDEO, live_from_ms=NOW - 1000, author_id="a1", category="c")
        old = Item("n2", NOW, Kind.VIDEO, live_from_ms=NOW - 2 * DAY_MS, author_id="a1", category="c")
        brand = Item("n3", NOW, Kind.PRODUCT, live_from_ms=old.live_from_ms, brand_id="new brand", category="c")
        obscure = Item("n4", NOW, Kind.PRODUCT, live_from_ms=NOW - 8 * DAY_MS, brand_id="new brand", category="c")
        engine.append([new, old, brand, obscure], NOW)
        # All that was shown is found as trending.
        engine.append(
            [event for n, name in enumerate(("n1", "n2", "n3", "n4")) for event in watched(n, name, done=True)], NOW
        )
        assert {"n1", "n3"} <= chances(engine).keys()
        assert not {"n2", "n4"} & chances(engine).keys()
        engine.append([event for n in range(4, 7) for event in watched(n, "n1", done=True)], NOW)
        assert "n1" not in chances(engine)


def test_an_item_without_a_time_of_its_own_is_a_newcomer_from_its_first_row_on(home: Path) -> None:
    with explored(home, RULE) as engine:
        new = Item("n1", NOW - 1000, Kind.VIDEO, author_id="a1", category="c")
        old = Item("n2", NOW - 2 * DAY_MS, Kind.VIDEO, author_id="a1", category="c")
        again = Item("n2", NOW, Kind.VIDEO, author_id="a1", category="c", price=1)
        engine.append([new, old, again], NOW)
        engine.append([event for n, name in enumerate(("n1", "n2")) for event in watched(n, name, done=True)], NOW)
        q = chances(engine)
    assert "n1" in q
    assert "n2" not in q


def test_what_is_watched_to_the_end_wins_more_and_what_is_not_less(home: Path) -> None:
    with explored(home) as engine:
        before = mean_chances(engine)
        good, bad = "i1", "i5"
        seen = [watched(n, good if n % 2 else bad, done=n % 2 == 1) for n in range(60)]
        engine.append([event for pair in seen for event in pair], NOW)
        after = mean_chances(engine)
    # What nobody tried may well win more than either: its posterior is wide.
    assert after[good] > after[bad]
    assert after[bad] <= before[bad]


def test_an_author_who_is_watched_lends_newcomers_a_better_prior(home: Path) -> None:
    with explored(home, RULE) as engine:
        newcomers = [
            Item(f"n-{author}", NOW, Kind.VIDEO, live_from_ms=NOW - 10, author_id=author, category="c")
            for author in ("a4", "a8")
        ]
        engine.append(newcomers, NOW)
        # Rooms: i4 is of a4, i8 of a8.
        seen = [watched(n, "i4" if n % 2 else "i8", done=n % 2 == 1) for n in range(80)]
        engine.append([event for pair in seen for event in pair], NOW)
        q = chances(engine)
    assert q["n-a4"] > q["n-a8"]


def test_without_personalisation_two_people_get_one_page_of_lots_too(home: Path) -> None:
    with explored(home) as engine:
        engine.append([Event("l1", NOW, "i7", Action.LIKE, "u1"), Event("l2", NOW, "i3", Action.LIKE, "u2")], NOW)
        assert page(engine, "r", "u1").items != page(engine, "r", "u2").items
        engine.append([Control(user, NOW, "personalisation_off") for user in ("u1", "u2")], NOW)
        assert page(engine, "r", "u1").items == page(engine, "r", "u2").items


def test_without_personalisation_equal_sessions_and_hides_give_equal_pages_whatever_else_was_done(home: Path) -> None:
    rng = np.random.default_rng(0)
    kinds = [Action.LIKE, Action.CLICK, Action.ORDER, Action.FOLLOW, Action.SHARE]
    with explored(home) as engine:
        for case in range(12):
            people = [f"one-{case}", f"other-{case}"]
            hidden, session = f"i{rng.integers(40)}", [f"i{n}" for n in rng.choice(40, 6, replace=False)]
            for user in people:
                own = [
                    Event(f"{user}-{n}", NOW - 7_200_000 - n, f"i{rng.integers(40)}", kinds[rng.integers(5)], user)
                    for n in range(rng.integers(0, 8))
                ]
                old = [Event(f"{user}-o", NOW - 7_200_000, f"i{rng.integers(40)}", Action.IMPRESSION, user)]
                same = [Event(f"{user}-{name}", NOW, name, Action.IMPRESSION, user) for name in session]
                words = [Control(user, NOW, "hide_item", hidden), Control(user, NOW, "personalisation_off")]
                engine.append([*own, *old, *same, *words], NOW)
            for request_id in ("r1", "r2"):
                one, other = (page(engine, request_id, user) for user in people)
                assert one.items == other.items
                assert (one.dropped, one.relaxed) == (other.dropped, other.relaxed)


def test_a_share_of_pages_explores(home: Path) -> None:
    with explored(home, RULE.replace("rate = 1.0", "rate = 0.3")) as engine:
        explore = [any(item.source == "explore" for item in page(engine, f"r{n}").items) for n in range(200)]
    assert 0.2 < np.mean(explore) < 0.4


@pytest.mark.parametrize(("a", "b"), [(0.3, 1.4), (1.0, 1.0), (2.0, 18.0), (40.0, 3.0)])
def test_draws_are_of_their_beta(a: float, b: float) -> None:
    drawn = [beta(np.uint64(3), 5, number, a, b) for number in range(3000)]
    assert stats.kstest(drawn, stats.beta(a, b).cdf).pvalue > 1e-4


@pytest.mark.parametrize(("a", "b"), [(0.01, 0.03), (1e-4, 1e-4), (1e-6, 3e-6), (1e-300, 1e-300), (5e-324, 5e-324)])
def test_draws_of_next_to_no_evidence_are_one_or_the_other(a: float, b: float) -> None:
    drawn = np.array([beta(np.uint64(3), row, 0, a, b) for row in range(4000)])
    assert ((drawn >= 0) & (drawn <= 1)).all()
    assert abs(drawn.mean() - (0.5 if a == b else a / (a + b))) < 0.03


@given(st.integers(1, 30), st.integers(1, 20), st.integers(0, 2**32), st.floats(0, 1))
def test_chances_are_a_distribution_over_the_eligible(n: int, draws: int, seed: int, epsilon: float) -> None:
    rng = np.random.default_rng(seed)
    lottery = Lottery(np.arange(1, n + 1, dtype=np.int32), rng.random((draws, n)), epsilon)
    eligible = rng.random(n) < 0.6
    q = lottery.chances(eligible)
    assert (q[~eligible] == 0).all()
    if eligible.any():
        assert q.sum() == pytest.approx(1)
        assert (q[eligible] >= epsilon / eligible.sum() - 1e-12).all()
        assert eligible[lottery.pick(q, "r", 0)] or q[lottery.pick(q, "r", 0)] > 0
    else:
        assert q.sum() == 0
