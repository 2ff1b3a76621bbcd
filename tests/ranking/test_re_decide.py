"""Decision replay: a page that was sampled is computed again to the last bit, and every candidate's fate is told."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from features.errors import BundleError, MomentError, RequestError
from features.logs.live import HomeLog
from features.logs.log import DAY_MS, from_batch
from features.records import Action, Control, Decision, Event, Record
from huozhao.why import account_table
from ranking import Engine, Feed, FeedRequest
from ranking.api import RankRequest
from ranking.bundles.bundle import save
from ranking.bundles.pointer import current
from ranking.policy.versions import keep
from ranking.replay.account import Account
from ranking.replay.re_decide import Reach, re_decide
from ranking.request.ladder import Budget
from tests.small_home import NOW, bundle

EVERY = 1.0
BOUNDS = (
    '[surfaces.feed]\nbounds = [{ of = "video", at_most = 1, window = 4 }]\n[rerank]\nmethod = "dpp"\ntheta = 0.5\n'
)
LOTS = "[explore]\nrate = 1.0\nslots = [2, 5]\nepsilon = 0.2\ndraws = 50\n"
DAILY = """
[surfaces.feed]
bounds = [{ of = "commerce", at_most = 4, window = "day" }]
[commerce]
most = 2.0
"""
BOOST = """
[[boosts]]
name = "launch"
categories = ["c"]
kinds = ["video"]
term = 2.0
budget = 7
"""


def acts() -> list[Record]:
    """What makes pages differ: likes, views, hides and rooms that end."""
    seen: list[Record] = [Event(f"s{n}", NOW - 500, f"i{n}", Action.IMPRESSION, "u1") for n in (1, 2)]
    likes = [Event(f"l{n}", NOW - 400, f"i{n}", Action.LIKE, "u1") for n in (5, 6, 15)]
    return [*seen, *likes, Control("u1", NOW, "hide_item", "i3"), Event("end", NOW, "i4", Action.ROOM_END)]


def page(engine: Engine, request_id: str, *, count: int = 12, explain: bool = False, now_ms: int = NOW) -> Feed:
    return engine.feed(FeedRequest(user_id="u1", count=count, explain=explain, device="phone"), now_ms, request_id)


def assert_equal(account: Account, answered: Feed) -> None:
    """The account says that it is the same page, and is right."""
    assert (account.verdict, account.notes) == ("equal", ())
    assert account.page == tuple(item.item_id for item in answered.items)
    assert (account.dropped, account.relaxed) == (answered.dropped, answered.relaxed)
    told = account.candidates[: len(account.page)]
    for slot, (one, item) in enumerate(zip(told, answered.items, strict=True)):
        assert (one.slot, one.item_id, one.source) == (slot, item.item_id, item.source)
        assert (one.value, one.terms, one.heads) == (item.value, item.terms, item.heads)
        assert (one.propensity, one.boost_spent) == (item.propensity, item.boost_spent)
        assert one.features == item.features or not item.features


@pytest.mark.parametrize("policy", ["", BOUNDS, LOTS, BOOST, BOUNDS + LOTS, DAILY], ids=str)
@pytest.mark.parametrize("explain", [True, False])
def test_a_sampled_page_comes_out_as_it_was_answered_whatever_came_after(
    home: Path, policy: str, explain: bool
) -> None:
    (home / "policy.toml").write_text(policy, "utf-8")
    with Engine.open(home, decisions=EVERY) as engine:
        engine.append(acts(), NOW)
        answered = [page(engine, f"r{n}", explain=explain) for n in range(3)]
        engine.append([Event(f"after{n}", NOW, f"i{n}", Action.LIKE, "u1") for n in range(20)], NOW)
        engine.flush()
        for one in answered:
            assert_equal(re_decide(home, one.request_id), one)


def test_a_page_for_which_sources_looked_deeper_comes_out_as_it_was_answered(home: Path) -> None:
    (home / "policy.toml").write_text("candidates = 1\n", "utf-8")
    with Engine.open(home, decisions=EVERY) as engine:
        engine.append(acts(), NOW)
        answered = page(engine, "deep", count=20)
        engine.append([Event(f"after{n}", NOW, f"i{n}", Action.LIKE, "u1") for n in range(20)], NOW)
        engine.flush()
        # One of each source and kind would not have filled it.
        assert len(answered.items) == 20
        assert_equal(re_decide(home, "deep"), answered)


def test_an_account_says_on_which_rung_a_page_was_made_and_why(home: Path) -> None:
    with Engine.open(home, decisions=EVERY) as engine:
        page(engine, "whole")
        hurried = engine.feed(FeedRequest(user_id="u1"), NOW, "hurried", Budget(lambda: -1.0))
        engine.flush()
        assert hurried.level != "full"
        found = {name: re_decide(home, name) for name in ("whole", "hurried")}
    assert (found["whole"].level, found["whole"].degraded) == ("full", "")
    assert (found["hurried"].level, found["hurried"].degraded) == (hurried.level, "deadline")
    console = Console(record=True, width=200)
    console.print(account_table(found["hurried"]))
    assert f"It was made on the rung `{hurried.level}`, because of: deadline." in console.export_text()
    console.print(account_table(found["whole"]))
    assert "rung" not in console.export_text()


@pytest.mark.parametrize("width", [80, 120])
def test_a_table_of_candidates_is_broken_into_lines_before_a_figure_is_cut_off(home: Path, width: int) -> None:
    (home / "policy.toml").write_text(LOTS + BOOST, "utf-8")
    with Engine.open(home, decisions=EVERY) as engine:
        engine.append(acts(), NOW)
        page(engine, "r")
        engine.flush()
        account = re_decide(home, "r", current(home / "bundles").name)
    console = Console(record=True, width=width)
    console.print(account_table(account, None))
    printed = console.export_text()
    assert "…" not in printed
    assert max(map(len, printed.splitlines())) <= width
    words = printed.split()
    assert any(one.propensity < 1 for one in account.candidates)
    for one in account.candidates:
        assert one.source in words
        assert set(one.dropped.split()) <= set(words)
        assert one.value is None or f"{one.value:.3f}" in words
        assert one.propensity == 1 or f"{one.propensity:.3f}" in words
    assert "features, heads and every term of each with --json" in " ".join(words)


def test_of_every_candidate_it_is_told_why_it_is_not_on_the_page(home: Path) -> None:
    with Engine.open(home, decisions=EVERY) as engine:
        engine.append(acts(), NOW)
        # A silent room is found by no source that asks who is on air; a caller may name it, and everything else.
        answered = page(engine, "feed", count=5)
        ranked = engine.rank(RankRequest(item_ids=("i3", "i4", "i5", "nothing"), user_id="u1"), NOW, "rank")
        engine.flush()
        account, given = re_decide(home, "feed"), re_decide(home, "rank")
    reasons = {one.item_id: one.dropped for one in account.candidates}
    assert reasons["i3"] == "hidden"
    assert reasons["i1"] == reasons["i2"] == "session"
    for reason, count in answered.dropped.items():
        assert sum(found == reason for found in reasons.values()) == count
    beaten = [one for one in account.candidates if one.slot is None and not one.dropped]
    assert beaten
    assert sorted(one.place for one in account.candidates if one.place is not None) == list(
        range(len(beaten) + len(account.page))
    )
    assert {one.item_id: one.dropped for one in given.candidates} == {"i5": "", "i3": "hidden", "i4": "dead_room"}
    assert given.page == tuple(item.item_id for item in ranked.items) == ("i5",)
    assert given.verdict == "equal"


class Meddling:
    """A mutex that does something once, before its second taking: between reading and the last check."""

    def __init__(self, engine: Engine, records: list[Record]) -> None:
        self._engine, self._records, self._mutex, self._taken = engine, records, engine.mutex, 0

    def __enter__(self) -> object:
        self._taken += 1
        if self._taken == 2:
            self._engine.append(self._records, NOW)
        return self._mutex.__enter__()

    def __exit__(self, *error: object) -> None:
        self._mutex.__exit__(None, None, None)


def test_what_went_between_reading_and_the_last_check_went_again(home: Path) -> None:
    with Engine.open(home, decisions=EVERY) as engine:
        engine.append(acts(), NOW)
        first = page(engine, "first", count=6)
        taken = engine.item(first.items[0].item_id)
        engine.mutex = Meddling(engine, [msgspec.structs.replace(taken, listed=False)])
        answered = page(engine, "second", count=6)
        engine.flush()
        account = re_decide(home, "second")
    assert answered.dropped["gone"] == 1
    assert len(answered.items) == 6
    assert_equal(account, answered)
    (gone,) = (one for one in account.candidates if one.dropped == "gone")
    assert gone.item_id == taken.item_id


def test_a_page_that_was_not_sampled_is_answered_by_its_record_and_scored_at_its_moment(home: Path) -> None:
    with Engine.open(home, decisions=0.0) as engine:
        engine.append(acts(), NOW)
        answered = page(engine, "plain")
        engine.append([Event(f"after{n}", NOW, f"i{n}", Action.LIKE, "u1") for n in range(20)], NOW)
        engine.flush()
        account = re_decide(home, "plain")
    assert (account.sampled, account.verdict) == (False, "unknown")
    assert "not sampled" in account.notes[0]
    assert [(one.item_id, one.source, one.value, one.terms, one.heads) for one in account.candidates] == [
        (item.item_id, item.source, item.value, item.terms, item.heads) for item in answered.items
    ]
    assert all(one.features for one in account.candidates)


def test_one_page_in_so_many_is_sampled_and_its_decision_names_no_person(home: Path) -> None:
    with Engine.open(home, decisions=0.25) as engine:
        for n in range(80):
            page(engine, f"r{n}", count=2)
    with HomeLog(home / "log", writer=False) as log:
        records = [one.record for batch in log.read() for one in from_batch(batch)]
    kept = [record for record in records if isinstance(record, Decision)]
    assert 8 <= len(kept) <= 35
    assert all("u1" not in repr(record) for record in kept)


def test_another_bundle_decides_the_same_candidates_and_the_difference_adds_up(home: Path) -> None:
    learned = bundle()
    other = replace(learned, models={**learned.models, "complete": _other_model(learned.models["complete"])})
    version = save(other, home / "bundles", {}).name
    with Engine.open(home, decisions=EVERY) as engine:
        engine.append(acts(), NOW)
        answered = page(engine, "r", count=5)
        engine.flush()
        account = re_decide(home, "r", version)
        same = re_decide(home, "r", answered.bundle).other
    assert_equal(account, answered)
    assert account.other is not None
    assert account.other.bundle == version
    assert any(one.what != "stays" for one in account.other.changes)
    assert any(before != after for one in account.other.changes for before, after in one.terms.values())
    for one in account.other.changes:
        assert one.slot[0] == (account.page.index(one.item_id) if one.item_id in account.page else None)
        assert one.slot[1] == (account.other.page.index(one.item_id) if one.item_id in account.other.page else None)
        assert one.value[1] == pytest.approx(sum(after or 0 for _, after in one.terms.values()))
    assert same is not None
    assert {one.what for one in same.changes} == {"stays"}


def _other_model(text: str) -> str:
    """The same trees with every leaf turned about, and how many bytes each takes then."""
    head, *trees = re.split(r"(?m)^(?=Tree=|end of trees)", text)
    turned = [re.sub(r"(?m)^leaf_value=(.*)$", _turned, tree) for tree in trees]
    sizes = " ".join(str(len(tree)) for tree in turned[:-1])
    return re.sub(r"(?m)^tree_sizes=.*$", f"tree_sizes={sizes}", head) + "".join(turned)


def _turned(leaves: re.Match[str]) -> str:
    return "leaf_value=" + " ".join(f"{-float(leaf):.17g}" for leaf in leaves[1].split())


@contextmanager
def lived_on(home: Path, days: int) -> Iterator[Engine]:
    """The home, opened again after days in which people went on."""
    with Engine.open(home, decisions=EVERY) as engine:
        for day in range(days):
            at_ms = NOW + (day + 1) * DAY_MS
            engine.append([Event(f"d{day}-{n}", at_ms, f"i{n}", Action.CLICK, "u1") for n in range(10)], at_ms)
        yield engine


def test_after_a_restart_and_in_the_archive_a_page_is_found_and_comes_out_the_same(home: Path) -> None:
    with Engine.open(home, decisions=EVERY) as engine:
        engine.append(acts(), NOW)
        answered = page(engine, "old")
    with lived_on(home, days=2) as engine:
        assert_equal(re_decide(home, "old"), answered)
        assert engine.archive(NOW + 2 * DAY_MS) > 0
        assert_equal(re_decide(home, "old"), answered)
        with pytest.raises(RequestError, match="not archived"):
            re_decide(home, "old", reach=Reach(archived=False))
        last = page(engine, "new", now_ms=NOW + 2 * DAY_MS)
        engine.flush()
        assert_equal(re_decide(home, "new", reach=Reach(archived=False)), last)
    # Snapshots beyond the page's moment are of no use for it: the log is folded from its beginning.
    with pytest.raises(MomentError, match="records after the last snapshot"):
        re_decide(home, "old", reach=Reach(records=3))


def test_with_its_policy_replaced_it_is_decided_by_the_one_that_was_kept(home: Path) -> None:
    with Engine.open(home, decisions=EVERY) as engine:
        answered = page(engine, "r")
        keep(home / "policies", engine.generation.policy, NOW)
    (home / "policy.toml").write_text("[weights]\nlike = 3.5\n", "utf-8")
    with Engine.open(home, decisions=EVERY) as engine:
        assert engine.generation.policy.version != answered.policy
        assert_equal(re_decide(home, "r"), answered)
    shutil.rmtree(home / "policies")
    account = re_decide(home, "r")
    assert account.verdict == "unknown"
    assert f"No policy {answered.policy!r} was in force" in account.notes[0]
    assert account.page == tuple(item.item_id for item in answered.items)
    assert [one.value for one in account.candidates[: len(account.page)]] == [item.value for item in answered.items]


def test_what_is_not_there_is_said_with_the_way_out(home: Path) -> None:
    with Engine.open(home, decisions=EVERY) as engine:
        answered = page(engine, "r")
    for name, said in (("nobody's", "No page \"?'?nobody's"), ("", "No page is named"), ('r"', "No page")):
        with pytest.raises(RequestError, match=said) as error:
            re_decide(home, name)
        assert error.value.way_out
    with pytest.raises(BundleError):
        re_decide(home, "r", "gone")
    shutil.rmtree(home / "bundles" / answered.bundle)
    account = re_decide(home, "r")
    assert account.verdict == "unknown"
    assert answered.bundle in account.notes[0]
