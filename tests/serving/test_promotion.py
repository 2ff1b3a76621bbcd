"""Promotion while serving: no request is lost, every page names one bundle, and replay computes it again."""

import logging
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx
import msgspec
import numpy as np
import pytest

from features.columns import Count, Rate
from features.logs.live import HomeLog
from features.pages import Moment
from features.reader import Reader
from features.records import Action, Context, Event, Item, Kind, Record
from features.replay import Readers, read_moments
from features.schema import FeatureSet
from ranking.api import Feed, FeedRequest, RankRequest
from ranking.bundles.bundle import Bundle, load, save
from ranking.bundles.pointer import promote as turn
from ranking.bundles.pointer import turn as point
from ranking.engine import Engine
from ranking.request.generation import Generation
from ranking.types import Batch, Scored
from ranking.value import Weights
from serving.promotion import Promotions
from tests.serving.conftest import served
from tests.small_home import FEATURES, NOW, bundle
from training import registry

WIDER = FeatureSet((*FEATURES.columns, Count("merchant", "order", half_life="30m"), Rate("user*category", "share")))
PATIENCE_S = 60.0


def wait_for(what: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < until
        time.sleep(0.01)


class Crowd:
    """People who ask for pages and send what they did, as fast as they are answered, until told to stop."""

    def __init__(self, engine: Engine) -> None:
        self.pages: list[Feed] = []
        self.faults: list[BaseException] = []
        self._engine = engine
        self._stopped = threading.Event()
        acts = (self._ask, self._do) * 2
        self._threads = [threading.Thread(target=self._until_stopped, args=(act,)) for act in acts]

    def __enter__(self) -> "Crowd":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def asks_and_does(self, begun: int) -> Callable[[], bool]:
        """Whether since so many pages others were asked for, while records came."""
        return lambda: len({page.read_offset for page in self.pages[begun:]}) > 5

    def _until_stopped(self, each: Callable[[int], None]) -> None:
        number = 0
        while not self._stopped.is_set():
            try:
                each(number)
            except Exception as fault:  # noqa: BLE001, any fault is a lost request
                self.faults.append(fault)
                return
            number += 1

    def _ask(self, number: int) -> None:
        request = FeedRequest(user_id=f"u{number % 3}", count=10, explain=True)
        self.pages.append(self._engine.feed(request, NOW, f"{threading.get_ident()}-{number}"))

    def _do(self, number: int) -> None:
        name = f"{threading.get_ident()}-{number}"
        act = (Action.LIKE, Action.ORDER, Action.SHARE, Action.CLICK)[number % 4]
        records: list[Record] = [
            Event(name, NOW, f"i{number % 45}", act, f"u{number % 3}"),
            Item(f"i{number % 45}", NOW, Kind.PRODUCT if number % 45 > 40 else Kind.VIDEO, author_id=f"a{number % 12}",
                 merchant_id="m", category="c", listed=number % 5 > 0),
        ]  # fmt: skip
        assert {ack.status for ack in self._engine.append(records, NOW)} == {"accepted"}


def assert_parity(home: Path, pages: list[Feed], known: dict[str, Bundle]) -> None:
    for version, of in known.items():
        mine = sorted((page for page in pages if page.bundle == version), key=lambda page: page.read_offset)
        assert mine, f"no page of {version}"
        mine = mine[:: max(1, len(mine) // 30)]
        moments = [
            Moment(page.read_offset, page.now_ms, page.user_id, [i.item_id for i in page.items], Context(page.surface))
            for page in mine
        ]
        readers = Readers.always(Reader(of.feature_set, of.codes, of.factors))
        with HomeLog(home / "log", writer=False) as log:
            for page, rows in zip(mine, read_moments(log, readers, moments), strict=True):
                for item, row in zip(page.items, rows, strict=True):
                    answered = np.array([np.nan if x is None else x for x in item.features.values()], np.float32)
                    assert answered.tobytes() == row.tobytes(), (version, page.request_id, item.item_id)


def test_two_promotions_under_load_lose_no_request_and_every_page_is_of_one_bundle(home: Path) -> None:
    first, second, third = bundle(), replace(bundle(), weights=Weights(complete=9.0)), bundle(WIDER)
    with Engine.open(home) as engine, Crowd(engine) as crowd:
        for upcoming in (second, third):
            wait_for(crowd.asks_and_does(len(crowd.pages)))
            engine.take_up(upcoming, lambda: NOW + 5)
            # A page that was asked for before may still be of the one before; what is asked for now is not.
            assert engine.feed(FeedRequest(user_id="u1"), NOW, f"after-{upcoming.version}").bundle == upcoming.version
        wait_for(lambda: len([page for page in crowd.pages if page.bundle == third.version]) > 40)
        status = engine.status(NOW)
        assert (status.bundle, status.bundle_since_ms) == (third.version, NOW + 5)
    assert crowd.faults == []
    versions = [page.bundle for page in crowd.pages]
    assert set(versions) == {first.version, second.version, third.version}
    assert_parity(home, crowd.pages, {one.version: one for one in (first, second, third)})


@pytest.mark.parametrize("upcoming", [replace(bundle(), weights=Weights(complete=9.0)), bundle(WIDER)])
def test_what_a_home_serves_after_a_promotion_is_what_it_would_serve_opened_anew(home: Path, upcoming: Bundle) -> None:
    def pages(engine: Engine) -> list[tuple[str, float]]:
        found = engine.feed(FeedRequest(user_id="u1", count=100), NOW + 10, "r")
        return [(item.item_id, item.value) for item in found.items]

    with Engine.open(home) as engine:
        engine.append([Event(f"e{n}", NOW, f"i{n}", Action.LIKE, "u1") for n in range(9)], NOW)
        engine.take_up(upcoming, lambda: NOW)
        engine.append([Item("new", NOW, Kind.VIDEO, title="new", author_id="a1", live_from_ms=NOW)], NOW)
        found = pages(engine)
        assert "new" in {name for name, _ in found}
    turn(home / "bundles", save(upcoming, home / "bundles", {}).name)
    with Engine.open(home) as engine:
        assert pages(engine) == found


def test_what_is_appended_while_a_bundle_is_taken_up_is_served_by_it_and_is_not_waited_for_till_its_end(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two steps of the making, records come in: items new and taken down, rooms ended, likes."""
    taken = {"steps": 0}

    with Engine.open(home) as engine:

        def rest(_: float) -> None:
            if taken["steps"] < 10:
                adding = threading.Thread(target=change, args=(taken["steps"],))
                adding.start()
                adding.join(PATIENCE_S)
                assert not adding.is_alive(), "an append waits"
                taken["steps"] += 1

        def change(number: int) -> None:
            add = Item(f"new{number}", NOW, Kind.VIDEO, title="new", author_id=f"b{number}", live_from_ms=NOW)
            gone = Item(f"i{2 + 4 * number}", NOW, Kind.VIDEO, author_id="a1", listed=False)
            ended = Event(f"end{number}", NOW, f"i{4 * number}", Action.ROOM_END)
            engine.append([add, gone, ended, Event(f"like{number}", NOW, f"new{number}", Action.LIKE, "u1")], NOW)

        monkeypatch.setattr("ranking.succession.handover.STEP", 4)
        monkeypatch.setattr("ranking.succession.handover.sleep", rest)
        engine.take_up(replace(bundle(), weights=Weights(complete=9.0)), lambda: NOW)
        monkeypatch.undo()
        assert taken["steps"] == 10
        found = [(i.item_id, i.value) for i in engine.feed(FeedRequest(user_id="u1", count=200), NOW + 10, "r").items]
        asked = {kind: len(index) for kind, index in engine.generation.indexes.items()}
        turn(engine.bundles, save(replace(bundle(), weights=Weights(complete=9.0)), engine.bundles, {}).name)
    names = {name for name, _ in found}
    assert {f"new{number}" for number in range(taken["steps"])} <= names
    assert not names & {f"i{2 + 4 * number}" for number in range(10)}
    with Engine.open(home) as engine:
        again = engine.feed(FeedRequest(user_id="u1", count=200), NOW + 10, "r").items
        assert [(item.item_id, item.value) for item in again] == found
        assert {kind: len(index) for kind, index in engine.generation.indexes.items()} == asked


def test_a_page_that_began_before_a_promotion_does_not_show_what_was_taken_down_after_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last check of an old page goes by the new state: the old one is folded no more."""
    with Engine.open(home) as engine:
        before = engine.generation
        score = Generation.score
        gone: list[str] = []

        def slow(generation: Generation, batch: Batch) -> Scored:
            scored = score(generation, batch)
            if not gone:
                gone.append(engine.generation.state.items.name(int(scored.batch.rows[0])))
                engine.take_up(bundle(WIDER), lambda: NOW)
                engine.take_down(gone[0], NOW)
            return scored

        monkeypatch.setattr(Generation, "score", slow)
        page = engine.feed(FeedRequest(user_id="u1", count=200), NOW, "r")
        assert page.bundle == before.bundle.version
        assert gone[0] not in {item.item_id for item in page.items}


def test_the_pointer_is_followed_and_a_damaged_bundle_leaves_the_running_one(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bundles = home / "bundles"
    second = save(replace(bundle(), weights=Weights(complete=9.0)), bundles, {}).name
    damaged = save(replace(bundle(), weights=Weights(complete=8.0)), bundles, {}).name
    with Engine.open(home) as engine:
        watch = Promotions(engine, bundles, lambda: NOW, every_s=0.01)
        watch.start()
        try:
            turn(bundles, second)
            # It is said once it is served: until then the level stays as it is.
            wait_for(lambda: f"Bundle {second} is served" in caplog.text)
            assert engine.status(NOW).bundle == second
            with caplog.at_level(logging.ERROR):
                (bundles / "current.json").write_text(f'{{"version": "{damaged}"}}')
                (bundles / damaged / "heads.json").unlink()
                wait_for(lambda: "What is promoted cannot be served" in caplog.text)
            assert damaged in caplog.text
            assert engine.status(NOW).bundle == second
            (bundles / "current.json").write_text("{")
            time.sleep(0.05)
            turn(bundles, load(bundles / second).version)
            assert engine.status(NOW).bundle == second
        finally:
            watch.stop()
    assert f"Bundle {second} is served" in caplog.text


def test_bundles_that_vanish_under_a_server_are_told_once_in_a_line_and_pages_go_on(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Engine.open(home) as engine:
        serves = engine.status(NOW).bundle
        watch = Promotions(engine, home / "bundles", lambda: NOW, every_s=0.01)
        watch.start()
        try:
            (home / "bundles").rename(home / "elsewhere")
            wait_for(lambda: bool(caplog.records))
            time.sleep(0.1)
            assert engine.feed(FeedRequest(user_id="u1"), NOW, "r").bundle == serves
            (home / "elsewhere").rename(home / "bundles")
            upcoming = save(replace(bundle(), weights=Weights(complete=9.0)), home / "bundles", {}).name
            turn(home / "bundles", upcoming)
            wait_for(lambda: engine.status(NOW).bundle == upcoming)
        finally:
            watch.stop()
    (told,) = (record for record in caplog.records if record.levelno >= logging.ERROR)
    assert told.exc_info is None
    assert "has no current bundle" in told.getMessage()


PEOPLE = ("u0", "u1", "u2")
Values = dict[tuple[str, str], tuple[float, dict[str, float]]]


def values_by(home: Path, version: str) -> Values:
    """What a bundle says of every item to everybody, asked of an engine that never served another."""
    alone = Path(shutil.copytree(home, home.parent / f"only {version}"))
    point(alone / "bundles", version)
    items = tuple(f"i{n}" for n in range(40))
    with Engine.open(alone, writer=False) as engine:
        pages = [engine.rank(RankRequest(item_ids=items, user_id=one), NOW, "r") for one in PEOPLE]
    return {(page.user_id, item.item_id): (item.value, item.terms) for page in pages for item in page.items}


def test_promotions_and_rollbacks_under_load_over_http_fail_no_request_and_mix_no_two_bundles(home: Path) -> None:
    bundles = home / "bundles"
    first = registry.current_version(bundles)
    second = save(replace(bundle(), weights=Weights(complete=9.0)), bundles, {}).name
    third = save(bundle(WIDER), bundles, {}).name
    expected = {version: values_by(home, version) for version in (first, second, third)}
    answers: list[httpx.Response] = []
    stopped = threading.Event()

    with served(home, now_ms=NOW) as (_, address):

        def ask(number: int) -> None:
            body = {"user_id": PEOPLE[number % 3], "count": 20, "deadline_ms": 60_000}
            with httpx.Client(base_url=address, timeout=60) as client:
                while not stopped.is_set():
                    answers.append(client.post("/v1/feed", json=body))

        def turned_to(version: str) -> None:
            begun = len(answers)
            wait_for(lambda: any(one.is_error or one.json()["bundle"] == version for one in answers[begun:]))

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        try:
            for upcoming in (second, third):
                registry.promote(bundles, upcoming, NOW, how="by hand", reason="better")
                turned_to(upcoming)
            for before in (second, first):
                assert registry.rollback(bundles, NOW, "worse").version == before
                turned_to(before)
        finally:
            stopped.set()
            for thread in threads:
                thread.join()
    assert {answer.status_code for answer in answers} == {200}
    pages = [msgspec.json.decode(answer.content, type=Feed) for answer in answers]
    assert {page.bundle for page in pages} == {first, second, third}
    for page in pages:
        assert (page.level, len(page.items)) == ("full", 20)
        for item in page.items:
            assert (item.value, item.terms) == expected[page.bundle][page.user_id, item.item_id]
