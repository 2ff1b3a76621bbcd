"""Pages for which there is no time: lesser ones, named so, and as legal as the best."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from features.logs.live import HomeLog
from features.records import Action, Control, Event, Item, Kind, Record, Served, decode, encode
from ranking.api import AliveRequest, Feed, FeedRequest, Level, RankRequest
from ranking.candidates.sources import Fresh, Personal, Trending
from ranking.engine import Engine
from ranking.request.generation import Generation
from ranking.request.ladder import FEED, Budget, Ladder
from tests.small_home import NOW

HIDDEN, ENDED, TAKEN, SOLD_OUT = "i2", "i4", "i3", "i5"


class Clock:
    """Time that goes on by so much whenever it is read."""

    def __init__(self, left_ms: float, step_ms: float = 0.0) -> None:
        self.left_ms, self.step_ms = left_ms, step_ms

    def __call__(self) -> float:
        self.left_ms -= self.step_ms
        return self.left_ms


@pytest.fixture
def engine(home: Path) -> Iterator[Engine]:
    with Engine.open(home) as engine:
        records: list[Record] = [
            Control("u1", NOW, "hide_item", HIDDEN),
            Event("end", NOW, ENDED, Action.ROOM_END),
            Item(SOLD_OUT, NOW, Kind.PRODUCT, author_id="a5", stock=0, live_from_ms=NOW - 1),
        ]
        assert {ack.status for ack in engine.append(records, NOW)} == {"accepted"}
        engine.take_down(TAKEN, NOW)
        for number in range(4):
            engine.feed(FeedRequest(user_id="u9"), NOW, f"slow-{number}", Budget(Clock(1e9, 10.0)))
        yield engine


def asked(engine: Engine, left_ms: float, name: str = "page", user_id: str = "u1", *, explain: bool = False) -> Feed:
    request = FeedRequest(user_id=user_id, count=200, explain=explain)
    return engine.feed(request, NOW, name, Budget(Clock(left_ms)))


def test_with_less_time_pages_come_down_the_rungs_and_say_so(engine: Engine) -> None:
    for _ in range(3):
        asked(engine, 1e9)
    levels = [asked(engine, left, f"{left}").level for left in (1e9, -1.0)]
    assert levels == ["full", "last"]
    page = asked(engine, -1.0, "late")
    assert page.degraded == "deadline"
    assert page.items


@pytest.mark.parametrize("level", ["popular", "last"])
def test_no_rung_shows_what_may_not_be_shown(engine: Engine, level: Level, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ladder, "rung", lambda *_args, **_more: level)
    engine.refresh(NOW)
    page = asked(engine, 50.0)
    assert (page.level, page.degraded) == (level, "deadline")
    shown = {item.item_id for item in page.items}
    assert len(shown) > 20
    assert not shown & {HIDDEN, ENDED, TAKEN, SOLD_OUT}
    assert HIDDEN in {item.item_id for item in asked(engine, 50.0, "other", user_id="u2").items}
    engine.append([Event("end2", NOW, "i8", Action.ROOM_END)], NOW)
    assert "i8" in shown
    assert "i8" not in {item.item_id for item in asked(engine, 50.0, "after").items}


def test_a_page_s_record_keeps_its_rung(engine: Engine, home: Path) -> None:
    for left_ms, name in ((1e9, "in-time"), (-1.0, "late")):
        asked(engine, left_ms, name)
    engine.flush()
    with HomeLog(home / "log", writer=False) as log:
        kept = [log.page(name) for name in ("in-time", "late")]
    assert [page[0].level for page in kept if page] == ["full", "last"]
    old = b'{"type":"served","request_id":"p","ts_ms":1,"read_offset":0}'
    assert decode(old) == Served("p", 1, 0)
    assert encode(Served("p", 1, 0)) == old


def test_the_light_rung_scores_by_the_first_trees(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ladder, "rung", lambda *_args, **_more: "light")
    page = asked(engine, 50.0)
    assert (page.level, page.degraded) == ("light", "deadline")
    assert all(item.terms and item.value == pytest.approx(sum(item.terms.values())) for item in page.items)
    ranked = engine.rank(RankRequest(item_ids=("i1", "i2", "i6"), user_id="u1"), NOW, "r", Budget(Clock(50.0)))
    assert ranked.level == "light"
    assert {item.item_id for item in ranked.items} == {"i1", "i6"}


def test_a_failing_ranker_gives_the_popular_page_and_its_reason(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("the trees are gone")

    monkeypatch.setattr(Generation, "_valued", broken)
    page = asked(engine, 1e9)
    assert (page.level, page.degraded) == ("popular", "ranker")
    assert page.items
    assert not {item.item_id for item in page.items} & {HIDDEN, ENDED, TAKEN, SOLD_OUT}
    ranked = engine.rank(RankRequest(item_ids=("i6", "i1", "i2"), user_id="u1"), NOW, "r")
    assert (ranked.level, ranked.degraded) == ("given", "ranker")
    assert [item.item_id for item in ranked.items] == ["i6", "i1"]
    assert engine.generation.faults["ranker"] == 2
    assert "the trees are gone" in caplog.text


def test_rows_that_cannot_be_read_give_the_popular_page_and_their_reason(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise MemoryError("no room for rows")

    monkeypatch.setattr(engine.generation, "assemble", broken)
    page = asked(engine, 1e9)
    assert (page.level, page.degraded) == ("popular", "state")
    assert page.items
    assert not {item.item_id for item in page.items} & {HIDDEN, ENDED, TAKEN, SOLD_OUT}
    ranked = engine.rank(RankRequest(item_ids=("i6", "nothing", "i1", "i2"), user_id="u1"), NOW, "r")
    assert (ranked.level, ranked.degraded) == ("given", "state")
    assert [item.item_id for item in ranked.items] == ["i6", "i1"]
    assert ranked.dropped["unknown"] == 1
    assert engine.generation.faults["state"] == 2
    assert "no room for rows" in caplog.text


def test_charts_that_fail_beside_the_ranker_give_the_list_of_before(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("gone")

    engine.refresh(NOW)
    for part, name in ((Generation, "_valued"), (Fresh, "retrieve"), (Trending, "retrieve")):
        monkeypatch.setattr(part, name, broken)
    page = asked(engine, 1e9)
    assert (page.level, page.degraded) == ("last", "ranker")
    assert page.items
    assert not {item.item_id for item in page.items} & {HIDDEN, ENDED, TAKEN, SOLD_OUT}


def test_charts_stand_in_for_what_fails_or_finds_nothing_where_the_policy_has_none(home: Path) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("the index is gone")

    (home / "policy.toml").write_text('sources = ["live", "products", "videos"]\n', "utf-8")
    with Engine.open(home) as engine, pytest.MonkeyPatch.context() as patch:
        stranger = asked(engine, 1e9)
        engine.append([Event("like", NOW, "i2", Action.LIKE, "u1")], NOW)
        assert {item.source for item in asked(engine, 1e9, "known").items} <= {"live", "products", "videos"}
        patch.setattr(Personal, "retrieve", broken)
        failed = asked(engine, 1e9, "again")
    for page, why in ((stranger, ""), (failed, "source")):
        assert (page.level, page.degraded) == ("full", why)
        assert {item.source for item in page.items} <= {"trending", "fresh"}
        assert len(page.items) > 20
        assert all(item.terms for item in page.items)


def test_a_failing_source_fails_open_and_is_counted(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ValueError("the chart is gone")

    whole = asked(engine, 1e9)
    monkeypatch.setattr(Fresh, "retrieve", broken)
    page = asked(engine, 1e9, "again")
    assert page.level == whole.level == "full"
    assert (whole.degraded, page.degraded) == ("", "source")
    assert engine.generation.faults["fresh"] == 3


def test_popular_pages_explain_nothing_they_do_not_know(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ladder, "rung", lambda *_args, **_more: "popular")
    assert all(item.features == {} for item in asked(engine, 1.0, explain=True).items)


def test_a_ladder_learns_costs_chooses_by_them_and_forgives_what_it_refused() -> None:
    ladder = Ladder(FEED)
    slow = Budget(Clock(1e6, 100.0))
    for stage in ("retrieve", "score", "finish"):
        slow.lap(stage)
    assert slow.took_ms == {"retrieve": 100.0, "score": 100.0, "finish": 100.0}
    ladder.learn(slow)
    assert ladder.cost_ms("retrieve") == 200.0
    assert ladder.rung(Budget(Clock(700.0))) == "full"
    assert ladder.rung(Budget(Clock(500.0))) == "light"
    assert ladder.rung(Budget(Clock(250.0))) == "popular"
    assert ladder.rung(Budget(Clock(10.0))) == "last"
    assert ladder.rung(Budget()) == "full"
    tries = 0
    while ladder.rung(Budget(Clock(50.0))) != "full":
        tries += 1
        assert tries < 1000


def test_a_page_that_was_fetched_earlier_is_checked_item_by_item(engine: Engine) -> None:
    names = ("i1", HIDDEN, ENDED, TAKEN, SOLD_OUT, "nothing", "i6", "i1")
    found = engine.alive(AliveRequest(item_ids=names, user_id="u1"), NOW)
    assert found.item_ids == ("i1", "i6")
    assert found.gone == {
        HIDDEN: "hidden", ENDED: "dead_room", TAKEN: "unlisted", SOLD_OUT: "no_stock", "nothing": "unknown",
    }  # fmt: skip
    assert engine.alive(AliveRequest(item_ids=("i1",), surface="plaza"), NOW).gone == {"i1": "kind"}
