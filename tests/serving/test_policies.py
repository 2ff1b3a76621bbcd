"""A policy changes while pages are asked for; a wrong one changes nothing and says so."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ranking import Engine, FeedRequest
from ranking.policy import load, parse
from ranking.policy.versions import find, history
from ranking.types import Batch, Scored
from serving.policies import Policies
from tests.small_home import NOW

NO_VIDEOS = '[surfaces.feed]\nkinds = ["room", "product"]\n'


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
        (home / "policy.toml").unlink()
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
