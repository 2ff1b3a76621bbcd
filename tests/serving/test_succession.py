"""A bundle is made ready before it answers: its lists are trained while pages go out, and what changes is in them."""

import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from litestar.testing import TestClient

from features.records import Action, Event, Item, Kind, Record
from features.types import RowArray
from huozhao.cli import main
from ranking.api import Feed, FeedRequest, RankRequest, Status
from ranking.bundles.bundle import Bundle, load, save
from ranking.bundles.pointer import current, turn
from ranking.engine import Engine
from ranking.index.centroids import Pause
from ranking.index.exact import ExactIndex
from ranking.index.kept import ListsWarning
from ranking.index.listed import ListedIndex
from ranking.index.lists import Lists, fit
from ranking.policy import load as load_policy
from ranking.value import Weights
from serving.application import create_app
from serving.promotion import Promotions, followed
from tests.serving.test_promotion import WIDER, Crowd, wait_for
from tests.small_home import NOW, bundle

PRODUCTS = 300


def product(number: int, *, listed: bool = True) -> Item:
    author = f"a{number % 8}"
    return Item(f"p{number}", NOW, Kind.PRODUCT, title=f"货 {number}", author_id=author, category="c", listed=listed)


def other(of: Bundle) -> Bundle:
    """Vectors of their own: those of the first, mirrored."""
    return replace(of, factors=replace(of.factors, authors=-of.factors.authors, words=-of.factors.words))


@pytest.fixture
def home(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of products enough for lists, which are trained from so few on, and of somebody who likes some."""
    monkeypatch.setattr("ranking.candidates.indexes.ListedIndex", partial(ListedIndex, threshold=PRODUCTS // 2))
    with Engine.open(home) as engine:
        likes = [Event(f"like{n}", NOW, f"p{n}", Action.LIKE, "u1") for n in range(0, 40, 8)]
        engine.append([*(product(n) for n in range(PRODUCTS)), *likes], NOW)
    return home


class Gate:
    """Holds up every training of lists at its beginning until it is opened; counts them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open, self.begun = threading.Event(), 0
        monkeypatch.setattr("ranking.index.refit.fit", self._held_up)

    def _held_up(self, exact: ExactIndex, rows: RowArray, pause: Pause) -> Lists:
        self.begun += 1
        while not self.open.wait(0.005):
            pause()
        return fit(exact, rows, pause)


def trained(home: Path, upcoming: Bundle) -> Bundle:
    """The bundle as it is kept in the home."""
    return load(home / "bundles" / save(upcoming, home / "bundles", {}).name)


@contextmanager
def opened(home: Path) -> Iterator[Engine]:
    """The engine of a home whose lists are trained and kept."""
    with Engine.open(home) as engine:
        engine.warm(NOW)
        wait_for(lambda: lists(engine.status(NOW)) > 0)
        yield engine


def lists(status: Status) -> int:
    return status.indexes["product"].lists


@contextmanager
def taking_up(engine: Engine, upcoming: Bundle) -> Iterator[list[bool]]:
    """A bundle is made ready meanwhile, up to its lists at least; in the end what became of it."""
    became: list[bool] = []
    thread = threading.Thread(target=lambda: became.append(engine.take_up(upcoming, lambda: NOW)))
    thread.start()
    try:
        wait_for(lambda: (coming := engine.status(NOW).coming) is not None and coming.stage == "lists")
        yield became
    finally:
        thread.join()


@contextmanager
def gated(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Engine, Bundle, Gate]]:
    """An engine, a bundle that it may take up, and the gate at which that one's lists will wait."""
    upcoming = trained(home, other(bundle()))
    with opened(home) as engine:
        yield engine, upcoming, Gate(monkeypatch)


def page(engine: Engine) -> Feed:
    return engine.feed(FeedRequest(user_id="u1", count=200), NOW, "r")


def names(found: Feed) -> set[str]:
    return {item.item_id for item in found.items}


class Looks:
    """Asks again and again how the engine stands."""

    def __init__(self, engine: Engine) -> None:
        self.seen: list[Status] = []
        self._engine, self._stopped = engine, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Looks":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(0.001):
            self.seen.append(self._engine.status(NOW))


@pytest.mark.parametrize("make", [other, lambda _: other(bundle(WIDER))], ids=["same layout", "another layout"])
def test_lists_answer_from_the_first_page_of_a_promoted_bundle_on(
    home: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Bundle], Bundle]
) -> None:
    upcoming = trained(home, make(bundle()))
    with opened(home) as engine, Looks(engine) as looks, Crowd(engine) as crowd:
        before, gate = engine.status(NOW).bundle, Gate(monkeypatch)
        with taking_up(engine, upcoming) as became:
            begun = len(crowd.pages)
            wait_for(crowd.asks_and_does(begun))
            assert {one.bundle for one in crowd.pages[begun:]} == {before}
            gate.open.set()
        assert became == [True]
        assert page(engine).bundle == upcoming.version
        wait_for(lambda: crowd.pages[-1].bundle == upcoming.version)
    assert crowd.faults == []
    assert {one.bundle for one in crowd.pages} == {before, upcoming.version}
    after = [one for one in looks.seen if one.bundle == upcoming.version]
    assert after
    assert all(lists(one) > 0 and one.coming is None for one in after)
    stages = [one.coming.stage for one in looks.seen if one.coming is not None and one.bundle == before]
    assert "lists" in stages


def changes() -> list[Record]:
    """Items new and taken down, one hidden, a room over and one begun."""
    return [
        *(product(n) for n in range(PRODUCTS, PRODUCTS + 40)),
        *(product(n, listed=False) for n in range(1, PRODUCTS, 2)),
        Event("hide", NOW, "p8", Action.HIDE, "u1"),
        Event("end", NOW, "i4", Action.ROOM_END),
        Item("room", NOW, Kind.ROOM, title="room", author_id="a1", live_from_ms=NOW),
        Event("start", NOW, "room", Action.ROOM_START),
    ]


def test_what_changes_while_lists_are_trained_is_in_them_and_who_is_gone_never_appears(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with gated(home, monkeypatch) as (engine, upcoming, gate):
        with taking_up(engine, upcoming):
            engine.append(changes(), NOW)
            engine.take_down("p16", NOW)
            gate.open.set()
        status, found = engine.status(NOW), page(engine)
        near = engine.similar(f"p{PRODUCTS + 1}", 60, NOW)
        given = RankRequest(user_id="u1", item_ids=tuple(f"p{n}" for n in range(PRODUCTS + 40)))
        ranked = engine.rank(given, NOW, "r")
    assert lists(status) > 0
    assert status.indexes["product"].vectors == PRODUCTS // 2 + 40 - 1 + 10
    gone = {f"p{n}" for n in range(1, PRODUCTS, 2)} | {"p8", "p16", "i4"}
    assert not gone & names(found)
    assert not gone & names(ranked)
    assert "room" in names(found)
    assert {f"p{n}" for n in range(PRODUCTS, PRODUCTS + 40)} & {item.item_id for item in near}
    with Engine.open(home) as again:
        turn(home / "bundles", upcoming.version)
    with opened(home) as again:
        assert names(page(again)) == names(found)


def test_a_rollback_files_vectors_in_the_lists_that_were_kept(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = load(current(home / "bundles")), trained(home, other(bundle()))
    alike = trained(home, replace(other(bundle()), weights=Weights(complete=9.0)))
    with opened(home) as engine:
        gate = Gate(monkeypatch)
        gate.open.set()
        for upcoming, trainings in ((second, 1), (first, 1), (second, 1), (alike, 1)):
            assert engine.take_up(upcoming, lambda: NOW)
            assert engine.status(NOW).bundle == upcoming.version
            assert lists(engine.status(NOW)) > 0
            assert gate.begun == trainings


def test_a_policy_that_comes_while_a_bundle_is_made_ready_is_in_force_at_once_and_after(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with gated(home, monkeypatch) as (engine, upcoming, gate):
        with taking_up(engine, upcoming):
            (home / "policy.toml").write_text("page_most = 7\n")
            policy = load_policy(home / "policy.toml")
            engine.go_by(policy, lambda: NOW + 3)
            assert len(page(engine).items) == 7
            engine.append([product(PRODUCTS)], NOW)
            gate.open.set()
        found, status = page(engine), engine.status(NOW)
    assert (found.bundle, found.policy, len(found.items)) == (upcoming.version, policy.version, 7)
    assert status.policy_since_ms == NOW + 3
    assert status.indexes["product"].vectors == PRODUCTS + 11


@pytest.mark.parametrize("make", [other, lambda _: other(bundle(WIDER))], ids=["same layout", "another layout"])
def test_closing_gives_up_what_is_made_ready(
    home: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Bundle], Bundle]
) -> None:
    with opened(home) as engine:
        Gate(monkeypatch)
        with taking_up(engine, trained(home, make(bundle()))) as became:
            engine.close()
        assert became == [False]
        assert not engine.take_up(trained(home, other(bundle())), lambda: NOW)
    assert not [thread for thread in threading.enumerate() if thread.name == "huozhao-lists"]
    with Engine.open(home) as again:
        assert again.status(NOW).items == 40 + PRODUCTS


@contextmanager
def watched(engine: Engine) -> Iterator[Promotions]:
    watch = Promotions(engine, engine.bundles, lambda: NOW, every_s=0.01)
    watch.start()
    try:
        yield watch
    finally:
        watch.stop()


def test_a_second_promotion_takes_the_place_of_one_that_is_made_ready(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = trained(home, other(bundle())).version
    third = trained(home, replace(bundle(), factors=replace(bundle().factors, authors=bundle().factors.authors * 2)))
    with opened(home) as engine, Looks(engine) as looks:
        first, gate = engine.status(NOW).bundle, Gate(monkeypatch)
        with watched(engine):
            turn(engine.bundles, second)
            wait_for(lambda: gate.begun == 1)
            turn(engine.bundles, third.version)
            wait_for(lambda: gate.begun == 2)
            assert engine.status(NOW).bundle == first
            # What was given up is told of no change any more, and what comes in its place is.
            engine.append([product(PRODUCTS)], NOW)
            gate.open.set()
            wait_for(lambda: engine.status(NOW).bundle == third.version)
        assert engine.status(NOW).indexes["product"].vectors == PRODUCTS + 11
    assert {one.bundle for one in looks.seen} == {first, third.version}


def test_a_promotion_that_is_taken_back_while_it_is_made_ready_is_never_served_and_may_come_again(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = load(current(home / "bundles")).version, trained(home, other(bundle())).version
    with opened(home) as engine:
        gate = Gate(monkeypatch)
        with watched(engine):
            turn(engine.bundles, second)
            wait_for(lambda: gate.begun == 1)
            turn(engine.bundles, first)
            wait_for(lambda: engine.status(NOW).coming is None)
            assert engine.status(NOW).bundle == first
            assert followed(home) is None
            turn(engine.bundles, second)
            gate.open.set()
            wait_for(lambda: engine.status(NOW).bundle == second)


def test_a_server_tells_what_it_makes_ready_and_ends_while_it_does(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    second = trained(home, other(bundle())).version
    engine = Engine.open(home)
    engine.warm(NOW)
    wait_for(lambda: lists(engine.status(NOW)) > 0)
    gate = Gate(monkeypatch)
    with TestClient(create_app(engine, lambda: NOW, lambda: "r")) as client:
        turn(engine.bundles, second)
        wait_for(lambda: gate.begun == 1)
        status = client.get("/v1/status").json()
        assert status["coming"] == {"bundle": second, "since_ms": NOW, "stage": "lists"}
        assert client.get("/readyz").json() == {"status": "ok"}
        assert "huozhao_bundle_coming 1.0" in client.get("/metrics").text
        assert client.post("/v1/feed", json={"user_id": "u1"}).json()["bundle"] == status["bundle"] != second
        told = followed(home)
        assert told is not None
        assert (told.bundle, told.served_ms) == (second, 0)
        assert main(["models", "--home", str(home)]) == 0
        assert f"makes {second} ready" in capsys.readouterr().out
        gate.open.set()
        wait_for(lambda: "huozhao_bundle_coming 0.0" in client.get("/metrics").text)
        assert main(["models", "--home", str(home)]) == 0
        assert f"serves {second} since" in capsys.readouterr().out
        gate.open.clear()
        third = trained(
            home, replace(bundle(), factors=replace(bundle().factors, authors=bundle().factors.authors * 2))
        )
        turn(engine.bundles, third.version)
        wait_for(lambda: gate.begun == 2)
    assert followed(home) is None
    assert engine.status(NOW).bundle == second


def test_what_is_served_no_more_is_let_go_of_at_once(home: Path) -> None:
    """A server keeps what it was opened with out of all collections: vectors must go without one."""
    with opened(home) as engine:
        page(engine)
        held = [weakref.ref(one) for one in (engine.generation, engine.generation.reader)]
        engine.take_up(trained(home, other(bundle())), lambda: NOW)
        assert [one() for one in held] == [None, None]


def test_lists_that_cannot_be_kept_answer_all_the_same(home: Path) -> None:
    (home / "index").write_text("no folder")
    with pytest.warns(ListsWarning, match="could not be kept"), opened(home) as engine:
        assert len(page(engine).items) > 0
