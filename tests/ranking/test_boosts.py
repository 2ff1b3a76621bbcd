"""Boosts: budgets are never overspent, whoever asks and whatever breaks; only relevant items are lifted."""

import threading
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import LogError
from features.logs.live import HomeLog
from features.logs.log import from_batch
from features.records import Action, Event, Served
from ranking import Engine, Feed, FeedRequest
from ranking.mixing.leases import Ledger, leases
from ranking.policy import load as load_policy
from ranking.policy.boosts import Boost
from tests.small_home import NOW

BOOST = '[[boosts]]\nname = "b"\nauthors = ["a1", "a2", "a3"]\nterm = 5.0\nbudget = {budget}\nfloor = {floor}\n'


def opened(home: Path, budget: int, floor: float = 0.0, more: str = "") -> Engine:
    (home / "policy.toml").write_text(BOOST.format(budget=budget, floor=floor) + more, "utf-8")
    return Engine.open(home)


def page(engine: Engine, number: int = 0, count: int = 10) -> Feed:
    return engine.feed(FeedRequest(user_id="u1", count=count), NOW, f"r{number}")


def spent(feed: Feed) -> int:
    return sum(item.boost_spent > 0 for item in feed.items)


def test_what_is_boosted_rises_by_a_term_that_sums_to_its_value_and_is_written_down(home: Path) -> None:
    with Engine.open(home) as engine:
        plain = {item.item_id: item for item in page(engine, count=40).items}
    with opened(home, 1000) as engine:
        feed = page(engine, count=40)
        engine.flush()
    for item in feed.items:
        meant = item.author_id in {"a1", "a2", "a3"}
        assert item.terms["boost"] == (5.0 if meant else 0.0)
        assert item.boost_spent == float(meant)
        assert item.value == pytest.approx(sum(item.terms.values()), rel=1e-12)
        assert item.value == pytest.approx(plain[item.item_id].value + 5.0 * meant)
    with HomeLog(home / "log", writer=False) as log:
        (served,) = (
            stored.record
            for batch in log.read(feed.read_offset)
            for stored in from_batch(batch)
            if isinstance(stored.record, Served)
        )
    assert {slot.item_id: slot.boost_spent for slot in served.slots} == {
        item.item_id: item.boost_spent for item in feed.items
    }


def test_the_budget_ends_the_boost_and_outlives_a_restart(home: Path) -> None:
    counted = []
    for start in range(3):
        with opened(home, 7) as engine:
            counted += [spent(page(engine, 10 * start + number)) for number in range(2)]
    assert sum(counted) == 7
    assert counted[-1] == 0


@pytest.mark.parametrize("less", [0, 3, 10])
def test_a_budget_that_is_lowered_holds_at_once_whatever_is_leased(tmp_path: Path, less: int) -> None:
    ledger = Ledger(tmp_path / "leases.jsonl", writer=True)
    ample, less_ample = (Boost(name="b", authors=("a1",), term=1.0, budget=budget) for budget in (100_000, less))
    assert ledger.take(ample, 5, NOW) == 5
    ledger.give_back("b", 2)
    assert sum(ledger.take(less_ample, 2, NOW) for _ in range(20)) == max(less - 3, 0)
    assert ledger.take(ample, 5, NOW) == 5
    ledger.close(NOW)
    assert Ledger(tmp_path / "leases.jsonl", writer=True).leased("b") == 8 + max(less - 3, 0)


def test_a_campaign_is_stopped_by_its_budget(home: Path) -> None:
    with opened(home, 100_000) as engine:
        begun = spent(page(engine))
        assert begun > 0
        (home / "policy.toml").write_text(BOOST.format(budget=0, floor=0.0), "utf-8")
        engine.go_by(load_policy(home / "policy.toml"), lambda: NOW)
        assert not any(spent(page(engine, number)) for number in range(1, 20))


def test_a_crash_forfeits_its_lease_and_spends_nothing_twice(home: Path, tmp_path: Path) -> None:
    path, boost = tmp_path / "leases.jsonl", Boost(name="b", term=1.0, budget=1000, authors=("a",))
    crashed = Ledger(path, writer=True)
    assert crashed.take(boost, 3, NOW) == 3
    again = Ledger(path, writer=True)
    assert again.leased("b") == 10  # a hundredth of the budget was set aside, and 7 of it are lost
    assert again.take(boost, 2000, NOW) == 990
    assert again.take(boost, 1, NOW) == 0
    again.give_back("b", 90)
    again.close(NOW)
    assert Ledger(path, writer=True).take(boost, 2000, NOW) == 90
    assert [lease.impressions for lease in leases(path)] == [10, 990, -90, 90]


def test_a_line_that_was_cut_off_is_no_lease_and_a_changed_one_is_refused(tmp_path: Path) -> None:
    path, boost = tmp_path / "leases.jsonl", Boost(name="b", term=1.0, budget=100, authors=("a",))
    ledger = Ledger(path, writer=True)
    ledger.take(boost, 1, NOW)
    with path.open("ab") as file:
        file.write(b'{"boost":"b","impre')
    torn = Ledger(path, writer=True)
    assert torn.take(boost, 2, NOW) == 2
    assert Ledger(path, writer=False).leased("b") == 3
    path.write_bytes(b"nonsense\n" + path.read_bytes())
    with pytest.raises(LogError, match="line 1"):
        Ledger(path, writer=True)


@given(
    steps=st.lists(st.tuples(st.sampled_from(["take", "crash", "close"]), st.integers(0, 30)), max_size=25),
    data=st.data(),
)
def test_a_budget_is_never_overspent_whatever_happens(
    steps: list[tuple[str, int]], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("ledger") / "leases.jsonl"
    boost = Boost(name="b", term=1.0, budget=data.draw(st.integers(0, 300)), authors=("a",))
    ledger, total = Ledger(path, writer=True), 0
    for step, number in steps:
        if step == "take":
            taken = ledger.take(boost, number, NOW)
            back = data.draw(st.integers(0, taken))
            ledger.give_back("b", back)
            total += taken - back
        else:
            if step == "close":
                ledger.close(NOW)
            ledger = Ledger(path, writer=True)
        assert total <= sum(lease.impressions for lease in leases(path)) <= boost.budget


def test_eight_threads_never_overspend_and_leave_nothing_unspent(tmp_path: Path) -> None:
    path, boost = tmp_path / "leases.jsonl", Boost(name="b", term=1.0, budget=2_000, authors=("a",))
    ledger, total = Ledger(path, writer=True), Counter[int]()

    def spend(thread: int) -> None:
        for number in range(300):
            taken = ledger.take(boost, 1 + number % 5, NOW)
            back = taken // 2 if number % 3 else 0
            ledger.give_back("b", back)
            total[thread] += taken - back

    threads = [threading.Thread(target=spend, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(total.values()) == 2_000
    assert all(lease.impressions > 0 for lease in leases(path))


def test_eight_threads_of_pages_spend_what_the_log_says_and_no_more(home: Path) -> None:
    total = Counter[int]()
    with opened(home, 60) as engine:

        def ask(thread: int) -> None:
            for number in range(6):
                total[thread] += spent(page(engine, 100 * thread + number))

        threads = [threading.Thread(target=ask, args=(thread,)) for thread in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        before = engine.status(NOW).offset
        engine.flush()
    assert sum(total.values()) == 60
    with HomeLog(home / "log", writer=False) as log:
        pages = [one.record for batch in log.read(before - 48) for one in from_batch(batch)]
    assert sum(slot.boost_spent for one in pages if isinstance(one, Served) for slot in one.slots) == 60


def test_only_what_is_as_good_as_the_floor_is_lifted(home: Path) -> None:
    liked = [Event(f"like{n}", NOW, "i1", Action.LIKE, "u1") for n in range(7)]
    with opened(home, 1000, floor=0.95) as engine:
        engine.append(liked, NOW)
        items = page(engine, count=40).items
    own = {item.item_id: item.value - item.terms["boost"] for item in items}
    least = sorted(own.values())[int(0.95 * (len(own) - 1))]
    meant = [item for item in items if item.author_id in {"a1", "a2", "a3"}]
    lifted = {item.item_id for item in meant if item.boost_spent}
    assert lifted == {item.item_id for item in meant if own[item.item_id] >= least - 1e-9}
    assert 0 < len(lifted) < len(meant)


def test_a_boost_is_off_a_millisecond_before_and_of_its_surfaces_alone(home: Path) -> None:
    dates = 'from = 2024-10-04T08:00:00+08:00\nuntil = 2024-10-04T08:00:01+08:00\nsurfaces = ["feed"]\n'
    with opened(home, 1000, more=dates) as engine:
        at = {ms: engine.feed(FeedRequest(user_id="u1"), NOW + ms, f"r{ms}") for ms in (-1, 0, 999, 1000)}
        assert [spent(feed) > 0 for feed in at.values()] == [False, True, True, False]
        assert not spent(engine.feed(FeedRequest(user_id="u1", surface="mall"), NOW, "mall"))


def test_a_reader_shows_what_is_lifted_and_spends_nothing(home: Path) -> None:
    with opened(home, 5) as engine:
        engine.flush()
    with Engine.open(home, writer=False) as reader:
        assert spent(page(reader)) == spent(page(reader, 1)) == 5
    assert leases(home / "boosts" / "leases.jsonl") == []


def test_what_cannot_be_written_down_is_not_lifted_and_status_says_so(home: Path) -> None:
    (home / "boosts").write_text("in the way")
    with opened(home, 100) as engine:
        assert spent(page(engine)) == 0
        assert len(page(engine, 1).items) == 10
        assert "boosts" in engine.status(NOW).policy_fault


SECOND = BOOST.replace('"b"', '"second"').replace("5.0", "2.0")


def lifted_by(feed: Feed) -> Counter[float]:
    return Counter(item.terms["boost"] for item in feed.items if item.boost_spent)


def test_of_several_boosts_the_first_lifts_while_it_lasts_and_then_the_next(home: Path) -> None:
    with opened(home, 5, more=SECOND.format(budget=1000, floor=0.0)) as engine:
        meant = sum(item.author_id in {"a1", "a2", "a3"} for item in page(engine, count=40).items)
        assert lifted_by(page(engine, 1, count=40)) == {2.0: meant}
    assert sum(lease.impressions for lease in leases(home / "boosts" / "leases.jsonl") if lease.boost == "b") == 5
    (home / "boosts" / "leases.jsonl").unlink()
    with opened(home, 5, more=SECOND.format(budget=1000, floor=0.0)) as engine:
        # The first has an impression for five of them, and the second lifts the others.
        assert lifted_by(page(engine, count=40)) == {5.0: 5, 2.0: meant - 5}
        engine.flush()


def test_what_the_first_boost_thinks_too_little_of_the_next_may_lift(home: Path) -> None:
    liked = [Event(f"like{n}", NOW, "i1", Action.LIKE, "u1") for n in range(7)]
    with opened(home, 1000, floor=0.95, more=SECOND.format(budget=1000, floor=0.0)) as engine:
        engine.append(liked, NOW)
        items = page(engine, count=40).items
    terms = {item.item_id: item.terms["boost"] for item in items if item.author_id in {"a1", "a2", "a3"}}
    own = {item.item_id: item.value - item.terms["boost"] for item in items}
    assert set(terms.values()) == {5.0, 2.0}
    assert min(own[name] for name, term in terms.items() if term == 5.0) >= max(
        own[name] for name, term in terms.items() if term == 2.0
    )


def test_eight_threads_overspend_neither_of_two_boosts_of_the_same_items(home: Path) -> None:
    total = Counter[float]()
    lock = threading.Lock()
    with opened(home, 60, more=SECOND.format(budget=45, floor=0.0)) as engine:

        def ask(thread: int) -> None:
            for number in range(6):
                mine = lifted_by(page(engine, 100 * thread + number))
                with lock:
                    total.update(mine)

        threads = [threading.Thread(target=ask, args=(thread,)) for thread in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert total == {5.0: 60, 2.0: 45}
