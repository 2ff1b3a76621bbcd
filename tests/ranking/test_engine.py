"""The engine through its public door: what goes in changes what comes out, and nothing illegal ever does."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.faults import full_disk
from features.errors import BundleError, LogError, RequestError, SurfaceError
from features.logs.live import HomeLog
from features.logs.log import DAY_MS, from_batch
from features.records import Action, Control, Event, Item, Kind, Record, Served, User
from ranking import Engine, Feed, FeedRequest, RankRequest
from ranking.api import Alive, AliveRequest
from ranking.policy import parse
from ranking.request.journal import SERVED_KEPT
from tests.small_home import NOW


def feed(engine: Engine, user: str = "u1", count: int = 50, surface: str = "feed", after_ms: int = 0) -> Feed:
    request = FeedRequest(user_id=user, count=count, surface=surface, explain=True)
    return engine.feed(request, NOW + after_ms, f"{user}-{surface}-{after_ms}-{count}")


def ids(page: Feed) -> list[str]:
    return [item.item_id for item in page.items]


def like(number: int, item: str, user: str = "u1") -> Event:
    return Event(f"like-{number}", NOW, item, Action.LIKE, user)


def test_a_like_moves_the_authors_other_items_up_the_next_page(home: Path) -> None:
    with Engine.open(home) as engine:
        before = ids(feed(engine))
        engine.append([like(n, "i7") for n in range(3)], NOW)
        after = feed(engine, after_ms=1)
        liked = [item.item_id for item in after.items if item.author_id == "a7"]
        assert sum(map(ids(after).index, liked)) < sum(map(before.index, liked))
        item = next(item for item in after.items if item.item_id == "i7")
        assert (item.features["user*author.like/impression@7d"] or 0) > 0


def test_terms_sum_to_the_value_and_every_item_says_where_it_came_from(home: Path) -> None:
    with Engine.open(home) as engine:
        for item in feed(engine).items:
            assert item.value == pytest.approx(sum(item.terms.values()), rel=1e-12)
            assert item.source in {"live", "products", "videos", "trending", "fresh"}


def test_a_stranger_and_nobody_get_a_full_page(home: Path) -> None:
    with Engine.open(home) as engine:
        assert len(ids(feed(engine, "stranger", 20))) == 20
        assert len(ids(feed(engine, "", 20))) == 20


def test_an_item_stands_on_a_page_once_and_the_page_is_as_long_as_asked(home: Path) -> None:
    with Engine.open(home) as engine:
        page = ids(feed(engine, count=15))
        assert len(page) == len(set(page)) == 15


def test_a_surface_shows_its_kinds_alone(home: Path) -> None:
    with Engine.open(home) as engine:
        assert {item.kind for item in feed(engine, surface="plaza").items} == {Kind.ROOM}
        assert {item.kind for item in feed(engine, surface="mall").items} == {Kind.PRODUCT}


def test_when_no_room_is_alive_the_plaza_is_empty_and_says_why(home: Path) -> None:
    with Engine.open(home) as engine:
        page = feed(engine, surface="plaza", after_ms=3_600_000)
        assert page.items == ()
        assert set(page.dropped) <= {"dead_room"}


@pytest.mark.parametrize("gone", ["room_end", "takedown", "stock"])
def test_what_has_gone_is_on_no_page_after_the_acknowledgement(home: Path, gone: str) -> None:
    name = {"room_end": "i0", "takedown": "i2", "stock": "i1"}[gone]
    with Engine.open(home) as engine:
        assert name in ids(feed(engine))
        old = engine.item(name)
        records: dict[str, Record] = {
            "room_end": Event("end", NOW, name, Action.ROOM_END),
            "takedown": Item(name, NOW, old.kind, listed=False),
            "stock": Item(name, NOW, old.kind, stock=0),
        }
        (ack,) = engine.append([records[gone]], NOW)
        assert ack.status == "accepted"
        assert name not in ids(feed(engine, after_ms=1))
        dropped = engine.rank(RankRequest(item_ids=(name,), user_id="u1"), NOW, "r").dropped
        assert dropped == {{"room_end": "dead_room", "takedown": "unlisted", "stock": "no_stock"}[gone]: 1}


def test_a_hidden_author_is_gone_with_personalisation_off_as_well(home: Path) -> None:
    with Engine.open(home) as engine:
        controls = [Control("u1", NOW, "hide_author", "a3"), Control("u1", NOW, "personalisation_off")]
        engine.append(controls, NOW)
        assert "a3" not in {item.author_id for item in feed(engine).items}
        assert "a3" in {item.author_id for item in feed(engine, "u2").items}


def test_without_personalisation_two_people_get_one_page(home: Path) -> None:
    with Engine.open(home) as engine:
        engine.append([like(1, "i7", "u1"), like(2, "i3", "u2")], NOW)
        engine.append([Control(user, NOW, "personalisation_off") for user in ("u1", "u2")], NOW)
        one, other = feed(engine, "u1"), feed(engine, "u2")
        assert one.items == other.items


def test_ranking_given_items_keeps_the_known_and_counts_the_rest(home: Path) -> None:
    with Engine.open(home) as engine:
        page = engine.rank(RankRequest(item_ids=("i1", "nothing", "i2", "i1"), user_id="u1"), NOW, "r")
        assert sorted(ids(page)) == ["i1", "i2"]
        assert page.dropped == {"unknown": 1}
        values = [item.value for item in page.items]
        assert values == sorted(values, reverse=True)
        none = engine.rank(RankRequest(item_ids=("nothing",)), NOW, "r2")
        assert (none.items, none.dropped) == ((), {"unknown": 1})


def test_bad_records_are_refused_by_name_and_the_rest_is_kept(home: Path) -> None:
    ahead = Event("ahead", NOW + DAY_MS, "i1", Action.LIKE, "u1")
    with Engine.open(home) as engine:
        acks = engine.append([like(1, "i1"), ahead, like(1, "i1"), like(2, "unheard-of")], NOW)
        assert [ack.status for ack in acks] == ["accepted", "rejected", "duplicate", "accepted"]
        assert "event 'ahead': ts_ms" in acks[1].error


def test_a_clock_that_runs_back_is_survived(home: Path) -> None:
    with Engine.open(home) as engine:
        engine.append([like(1, "i7")], NOW + 5000)
        engine.append([like(2, "i7")], NOW - 5000)
        assert engine.status(NOW).received_ms == NOW + 5000
        assert len(feed(engine, after_ms=-DAY_MS).items) > 0


def test_a_reader_sees_the_log_beside_its_writer_and_cannot_append(home: Path) -> None:
    with Engine.open(home) as engine:
        engine.append([like(1, "i7")], NOW)
        with Engine.open(home, writer=False) as reader:
            assert reader.status(NOW).offset == engine.status(NOW).offset
            assert ids(feed(reader)) == ids(feed(engine))
            with pytest.raises(RequestError, match="reader"):
                reader.append([like(2, "i7")], NOW)
        with pytest.raises(LogError, match="Another writer"):
            Engine.open(home)


def test_a_restart_serves_the_same_page(home: Path) -> None:
    with Engine.open(home) as engine:
        engine.append([like(n, f"i{n}") for n in range(9)], NOW)
        before = feed(engine)
    with Engine.open(home) as engine:
        assert feed(engine).items == before.items


def test_a_home_without_a_bundle_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="huozhao train"):
        Engine.open(tmp_path)


def test_similar_items_are_of_one_kind_and_not_the_item_itself(home: Path) -> None:
    with Engine.open(home) as engine:
        near = engine.similar("i2", 5, NOW)
        assert len(near) == 5
        assert {item.kind for item in near} == {Kind.VIDEO}
        assert "i2" not in {item.item_id for item in near}
        with pytest.raises(RequestError, match="'nothing'"):
            engine.similar("nothing", 5, NOW)


def test_similar_items_are_those_of_highest_cosine_however_long_their_vectors_are(home: Path) -> None:
    with Engine.open(home) as engine:
        generation, state = engine.generation, engine.generation.state
        row = state.items.find("i2")
        kinds = state.arrays.items.categories[: len(state.items), 4]
        vectors = generation.reader.vectors.item[: len(state.items)].astype(np.float64)
        lengths = np.linalg.norm(vectors, axis=1)
        same = np.flatnonzero((kinds == kinds[row]) & (lengths > 0))
        best = np.sort((vectors[same] @ vectors[row]) / (lengths[same] * lengths[row]))[::-1]
        assert [item.value for item in engine.similar("i2", 5, NOW)] == pytest.approx(best[1:6], abs=1e-5)


def test_what_was_seen_lately_gives_way_to_what_was_not(home: Path) -> None:
    with Engine.open(home) as engine:
        first = ids(feed(engine, count=5))
        seen = [Event(f"see-{name}", NOW, name, Action.IMPRESSION, "u1") for name in first]
        engine.append(seen, NOW)
        second = feed(engine, count=5, after_ms=1000)
        assert not set(first) & set(ids(second))
        assert second.dropped["session"] == 5


def test_no_room_is_shown_after_its_end_was_acknowledged_whatever_starts_and_ends_meanwhile(home: Path) -> None:
    with Engine.open(home) as engine:
        ended: set[str] = set()
        stop = threading.Event()

        def churn() -> None:
            number = 0
            while not stop.is_set():
                name = f"room-{number}"
                room = Item(name, NOW, Kind.ROOM, author_id=f"host-{number % 50}", title="直播")
                engine.append([room, Event(f"{name}-start", NOW, name, Action.ROOM_START)], NOW)
                if number >= 10:
                    engine.append([Event(f"room-{number - 10}-end", NOW, f"room-{number - 10}", Action.ROOM_END)], NOW)
                    ended.add(f"room-{number - 10}")
                number += 1

        thread = threading.Thread(target=churn)
        thread.start()
        shown: set[str] = set()
        for number in range(10_000):
            if number >= 300 and ended & shown:
                break
            before = set(ended)
            page = set(ids(engine.feed(FeedRequest(surface="plaza", count=30), NOW, f"p{number}")))
            assert not page & before
            shown |= page
        stop.set()
        thread.join()
        assert ended & shown


def test_people_are_described_anew(home: Path) -> None:
    with Engine.open(home) as engine:
        (ack,) = engine.append([User("new", NOW, gender="f", history=("i1", "i2"))], NOW)
        assert ack.status == "accepted"
        assert len(feed(engine, "new", 10).items) == 10


def test_the_end_of_a_room_is_obeyed_however_late_it_is_stamped(home: Path) -> None:
    with Engine.open(home) as engine:
        (ack,) = engine.append([Event("end", 0, "i0", Action.ROOM_END)], NOW)
        assert ack.status == "accepted"
        assert "i0" not in ids(feed(engine, surface="plaza"))


def test_a_room_event_of_what_is_no_room_changes_nothing(home: Path) -> None:
    with Engine.open(home) as engine:
        engine.append([Event("end", NOW, "i2", Action.ROOM_END), Event("end2", NOW, "i1", Action.ROOM_END)], NOW)
        assert {"i1", "i2"} <= set(ids(feed(engine)))


def test_an_event_of_before_ids_are_kept_is_refused_as_late_by_name(home: Path) -> None:
    with Engine.open(home) as engine:
        old, just = (Event(f"e{n}", NOW - 7 * DAY_MS - n, "i1", Action.LIKE, "u1") for n in (1, 0))
        refused, taken = engine.append([old, just], NOW)
        assert refused.status == "rejected"
        assert "event 'e1': late" in refused.error
        assert taken.status == "accepted"


def test_a_clock_far_behind_the_log_is_refused_by_name_and_loses_nothing(home: Path) -> None:
    later_ms = NOW + 8 * DAY_MS
    with Engine.open(home) as engine:
        engine.append([Event("ahead", later_ms, "i7", Action.LIKE, "u1")], later_ms)
        end = engine.status(NOW).offset
        with pytest.raises(LogError, match="691200 s behind"):
            engine.append([like(2, "i7")], NOW)
        assert engine.status(NOW).offset == end
        assert engine.append([Event("then", later_ms, "i7", Action.LIKE, "u1")], later_ms)[0].status == "accepted"


def test_a_pulse_from_the_far_future_keeps_no_room_alive(home: Path) -> None:
    with Engine.open(home) as engine:
        engine.append([Event("pulse", NOW + 8 * DAY_MS, "i0", Action.ROOM_PULSE)], NOW + 8 * DAY_MS)
        assert "i0" not in ids(feed(engine, surface="plaza"))


def wrong(kind: str) -> Record:
    """Structs whose fields are not what their types say, as Python lets one make them."""
    fields: dict[str, dict[str, Any]] = {
        "item": {"price": -1},
        "kind": {"kind": "cow"},
        "id": {"item_id": 7},
        "empty": {"item_id": ""},
        "number": {"attributes": {"w": float("nan")}},
    }
    event_fields: dict[str, dict[str, Any]] = {
        "time": {"ts_ms": float("nan")},
        "value": {"value": -5},
        "action": {"action": "nonsense"},
        "user": {"user_id": 712},
    }
    if kind in fields:
        item: dict[str, Any] = {"item_id": "i9", "ts_ms": NOW, "kind": Kind.VIDEO}
        return Item(**(item | fields[kind]))
    event: dict[str, Any] = {"event_id": "e", "ts_ms": NOW, "item_id": "i9", "action": Action.WATCH, "user_id": "u1"}
    return Event(**(event | event_fields[kind]))


@pytest.mark.parametrize("kind", ["item", "kind", "id", "empty", "number", "time", "value", "action", "user"])
def test_no_wrong_record_from_python_gets_into_the_log(home: Path, kind: str) -> None:
    with Engine.open(home) as engine:
        end = engine.status(NOW).offset
        (ack,) = engine.append([wrong(kind)], NOW)
        assert ack.status == "rejected"
        assert ack.error
        assert engine.status(NOW).offset == end
    with Engine.open(home) as engine:
        assert len(feed(engine).items) > 0


@pytest.mark.parametrize(
    ("fields", "now_ms", "request_id"),
    [
        ({"user_id": 712}, NOW, "r"),
        ({"user_id": None}, NOW, "r"),
        ({"surface": "s" * 100}, NOW, "r"),
        ({"count": 0}, NOW, "r"),
        ({"count": 10**6}, NOW, "r"),
        ({}, -5, "r"),
        ({}, float("nan"), "r"),
        ({}, NOW, ""),
    ],
)
def test_no_wrong_request_from_python_gets_into_the_log(
    home: Path, fields: dict[str, Any], now_ms: int, request_id: str
) -> None:
    with Engine.open(home) as engine:
        with pytest.raises(RequestError, match="not a request"):
            engine.feed(FeedRequest(**fields), now_ms, request_id)
        assert len(feed(engine).items) > 0
    Engine.open(home).close()


def test_a_surface_that_the_policy_does_not_declare_is_refused_with_those_that_it_does(home: Path) -> None:
    with Engine.open(home) as engine:
        asked: tuple[Callable[[str], Feed | Alive], ...] = (
            lambda surface: engine.feed(FeedRequest(surface=surface), NOW, "feed"),
            lambda surface: engine.rank(RankRequest(item_ids=("i1",), surface=surface), NOW, "rank"),
            lambda surface: engine.alive(AliveRequest(item_ids=("i1",), surface=surface), NOW),
        )
        for ask in asked:
            with pytest.raises(SurfaceError, match=r"no 'tab1'\. There are feed, plaza, mall;"):
                ask("tab1")
        engine.go_by(parse("[surfaces.tab1]\nkinds = ['video']\n"), lambda: NOW)
        for ask in asked:
            ask("tab1")
        assert {item.kind for item in feed(engine, surface="tab1").items} == {Kind.VIDEO}


def test_a_takedown_is_one_step(home: Path) -> None:
    with Engine.open(home) as engine:
        assert engine.take_down("i2", NOW).status == "accepted"
        assert "i2" not in ids(feed(engine))
        assert engine.item("i2").title == "好货 2"
        with pytest.raises(RequestError, match="'nothing'"):
            engine.take_down("nothing", NOW)


def test_archiving_days_changes_no_page(home: Path) -> None:
    with Engine.open(home) as engine:
        engine.append([like(n, "i7") for n in range(3)], NOW)
        before = feed(engine)
        assert engine.archive(NOW + 2 * DAY_MS) == 3
        assert feed(engine).items == before.items
        assert engine.append([like(1, "i7")], NOW)[0].status == "duplicate"


def test_pages_of_an_earlier_moment_are_answered_and_kept_however_many(home: Path) -> None:
    with Engine.open(home) as engine:
        engine.append([like(1, "i7")], NOW + DAY_MS)
        for number in range(SERVED_KEPT + 1):
            engine.feed(FeedRequest(count=1), NOW, f"early-{number}")
        assert engine.status(NOW).offset >= SERVED_KEPT


def test_a_full_disk_keeps_no_page_back_until_too_many_wait_and_what_was_refused_is_in_no_log(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    most = SERVED_KEPT + 10
    monkeypatch.setattr("ranking.request.journal.MOST_SERVED", most)
    with Engine.open(home) as engine:
        with full_disk(64 << 10):
            for number in range(most):
                assert engine.feed(FeedRequest(user_id="u1"), NOW, f"full-{number}").items
            with pytest.raises(LogError, match=r"live\.sqlite"):
                engine.feed(FeedRequest(user_id="u1"), NOW, "refused")
        assert "could not be written down yet" in caplog.text
        assert engine.feed(FeedRequest(user_id="u1"), NOW, "after").items
    with HomeLog(home / "log", writer=False) as log:
        records = [one.record for batch in log.read() for one in from_batch(batch)]
    names = [record.request_id for record in records if isinstance(record, Served)]
    assert names == [*(f"full-{number}" for number in range(most)), "after"]
