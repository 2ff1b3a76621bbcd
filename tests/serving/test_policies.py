"""A policy changes while pages are asked for; a wrong one changes nothing and says so."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ranking import Engine, FeedRequest
from ranking.policy import DEFAULT_TOML, default, load, parse
from ranking.policy.versions import find, history
from ranking.types import Batch, Scored
from serving.policies import Policies
from tests.small_home import NOW

NO_VIDEOS = '[surfaces.feed]\nkinds = ["room", "product"]\n'


class Looks(Policies):
    """Looks when it is told to, and not by itself."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine, lambda: NOW, every_s=3600)
        super().start()
        # The first look is the thread's own, and then it is told to look no more.
        super().stop()

    def look(self) -> None:
        self._look()


def until(true: Callable[[], bool]) -> None:
    """Wait; a test that never comes to it fails by its claim."""
    deadline = time.monotonic() + 20
    while not true() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert true()


def test_a_changed_file_is_in_force_without_a_dropped_page_and_every_version_is_kept(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = iter(range(NOW, NOW + 1_000_000))
    with Engine.open(home) as engine:
        first = engine.generation.policy.version
        policies = Policies(engine, lambda: next(clock), every_s=0.01)
        policies.start()
        stop, faults, seen = threading.Event(), list[BaseException](), set[tuple[str, frozenset[str]]]()

        def ask() -> None:
            number = 0
            try:
                while not stop.is_set():
                    page = engine.feed(FeedRequest(user_id="u1"), NOW, f"r{number}")
                    seen.add((page.policy, frozenset(item.kind for item in page.items)))
                    number += 1
            except BaseException as error:  # noqa: BLE001
                faults.append(error)

        asking = threading.Thread(target=ask)
        asking.start()
        (home / "policy.toml").write_text(NO_VIDEOS, "utf-8")
        second = parse(NO_VIDEOS).version
        until(lambda: engine.status(NOW).policy == second and any(version == second for version, _ in seen))
        (home / "policy.toml").write_text("[weights]\nlke = 1.0\n", "utf-8")
        until(lambda: "weights.lke" in engine.status(NOW).policy_fault)
        assert "line 2" in engine.status(NOW).policy_fault
        until(lambda: any("cannot be served" in told.getMessage() for told in caplog.records))
        (told,) = (told for told in caplog.records if "cannot be served" in told.getMessage())
        assert "policy.toml: line 2: weights.lke" in told.getMessage()
        assert told.exc_info is None
        assert engine.status(NOW).policy == second
        (home / "policy.toml").write_text(DEFAULT_TOML, "utf-8")
        until(lambda: engine.status(NOW).policy == first and not engine.status(NOW).policy_fault)
        stop.set()
        asking.join()
        policies.stop()
    assert not faults
    assert all("video" not in kinds for version, kinds in seen if version == second)
    assert any("video" in kinds for version, kinds in seen if version == first)
    entries = history(home / "policies")
    assert [entry.version for entry in entries] == [first, second, first]
    assert sorted(entry.since_ms for entry in entries) == [entry.since_ms for entry in entries]
    assert find(home / "policies", second[:6]) == parse(NO_VIDEOS)
    assert {path.name for path in (home / "policies").glob("*.toml")} == {f"{first}.toml", f"{second}.toml"}


@contextmanager
def following(home: Path) -> Iterator[Engine]:
    with Engine.open(home) as engine:
        policies = Policies(engine, lambda: NOW, every_s=0.01)
        policies.start()
        try:
            yield engine
        finally:
            policies.stop()


@pytest.mark.parametrize("left", [None, b"", b" \n\t\n", b"\xef\xbb\xbf"], ids=["gone", "empty", "blank", "a mark"])
def test_a_file_that_is_lost_while_serving_is_a_fault_and_ends_no_rule(
    home: Path, left: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    file = home / "policy.toml"
    file.write_text(NO_VIDEOS, "utf-8")
    ruled = parse(NO_VIDEOS).version
    with following(home) as engine:
        if left is None:
            file.unlink()
        else:
            file.write_bytes(left)
        until(lambda: "gone or empty" in engine.status(NOW).policy_fault)
        assert "Put it back" in engine.status(NOW).policy_fault
        assert engine.status(NOW).policy == ruled
        assert "video" not in {item.kind for item in engine.feed(FeedRequest(user_id="u1"), NOW, "r1").items}
        file.write_text(NO_VIDEOS, "utf-8")
        until(lambda: not engine.status(NOW).policy_fault)
        assert engine.status(NOW).policy == ruled
        file.write_text("# The default, and meant.\n", "utf-8")
        until(lambda: engine.status(NOW).policy == default().version)
    assert [told.levelname for told in caplog.records if "gone or empty" in told.getMessage()] == ["ERROR"]


def test_a_home_that_never_had_a_file_is_served_by_the_default_until_it_has_one(home: Path) -> None:
    file = home / "policy.toml"
    file.unlink(missing_ok=True)
    with Engine.open(home) as engine:
        policies = Looks(engine)
        for _ in range(3):
            policies.look()
        file.write_text("\n", "utf-8")
        for _ in range(3):
            policies.look()
        assert not engine.policy_fault
        assert engine.status(NOW).policy == default().version
        file.write_text(NO_VIDEOS, "utf-8")
        for _ in range(2):
            policies.look()
        assert engine.status(NOW).policy == parse(NO_VIDEOS).version
        file.unlink()
        for _ in range(2):
            policies.look()
        assert "gone or empty" in engine.policy_fault


def test_a_file_is_taken_up_when_two_looks_in_a_row_found_the_same(home: Path) -> None:
    file = home / "policy.toml"
    file.write_text(NO_VIDEOS, "utf-8")
    with Engine.open(home) as engine:
        policies, ruled = Looks(engine), parse(NO_VIDEOS).version
        policies.look()
        policies.look()
        for half in ("page_most = 9\n", "page_most = 9\npage_most", ""):
            file.write_text(half, "utf-8")
            policies.look()
            assert (engine.status(NOW).policy, engine.policy_fault) == (ruled, "")
        file.write_text("page_most = 9\n" + NO_VIDEOS, "utf-8")
        policies.look()
        assert engine.status(NOW).policy == ruled
        policies.look()
        assert engine.status(NOW).policy == parse("page_most = 9\n" + NO_VIDEOS).version


def test_a_file_that_could_not_be_read_and_can_again_is_no_fault_any_more(home: Path) -> None:
    file = home / "policy.toml"
    file.write_text(NO_VIDEOS, "utf-8")
    with following(home) as engine:
        file.rename(home / "aside")
        file.mkdir()
        until(lambda: bool(engine.status(NOW).policy_fault))
        file.rmdir()
        (home / "aside").rename(file)
        until(lambda: not engine.status(NOW).policy_fault)
        assert engine.status(NOW).policy == parse(NO_VIDEOS).version


def test_a_start_without_the_file_that_was_in_force_is_warned_of(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    (home / "policy.toml").write_text(NO_VIDEOS, "utf-8")
    for _ in range(2):
        with following(home):
            pass
    assert "There is no policy.toml" not in caplog.text
    (home / "policy.toml").unlink()
    for _ in range(2):
        with following(home) as engine:
            assert engine.status(NOW).policy == default().version
    (told,) = (told for told in caplog.records if "There is no policy.toml" in told.getMessage())
    assert told.levelname == "WARNING"
    assert parse(NO_VIDEOS).version in told.getMessage()


def test_a_start_in_the_same_policy_is_no_change(home: Path) -> None:
    for _ in range(2):
        with Engine.open(home) as engine:
            policies = Policies(engine, lambda: NOW, every_s=0.01)
            policies.start()
            policies.stop()
    assert [entry.version for entry in history(home / "policies")] == [load(home / "policy.toml").version]


def test_a_page_that_has_begun_is_finished_under_its_policy(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Engine.open(home) as engine:
        before = engine.generation
        scored = before.score

        def change(batch: Batch) -> Scored:
            monkeypatch.undo()
            engine.go_by(parse(NO_VIDEOS), lambda: NOW)
            return scored(batch)

        monkeypatch.setattr(before, "score", change)
        page = engine.feed(FeedRequest(user_id="u1"), NOW, "r1")
        assert page.policy == before.policy.version
        assert "video" in {item.kind for item in page.items}
        assert engine.feed(FeedRequest(user_id="u1"), NOW, "r2").policy == parse(NO_VIDEOS).version
