"""The server as a process: it answers, and when told to stop it drains, keeps what it owes and lets go."""

import signal
import socket
import time
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from features.errors import BundleError, LogError
from features.live import HomeLog
from features.log import from_batch
from features.records import Action, Event
from ranking.engine import Engine
from serving import Settings, SettingsError, serve
from tests.serving.conftest import Server


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_is_told_to_stop_keeps_what_it_owes_and_lets_go(
    server: Server, home: Path, told: signal.Signals
) -> None:
    process, address = server
    assert address.startswith("http://127.0.0.1:")
    now_ms = time.time_ns() // 1_000_000
    event = {"event_id": "e1", "ts_ms": now_ms, "item_id": "i1", "action": "like", "user_id": "u1"}
    assert httpx.post(f"{address}/v1/events", json=[event]).json()["results"] == [{"status": "accepted", "offset": 51}]
    page = httpx.post(f"{address}/v1/feed", json={"user_id": "u1"}).json()
    assert page["read_offset"] == 52
    assert abs(page["now_ms"] - now_ms) < 600_000
    assert httpx.get(f"{address}/v1/similar?item_id=%ff%00").status_code == 404
    with pytest.raises(LogError, match="Another writer"):
        Engine.open(home)
    process.send_signal(told)
    process.wait(timeout=30)
    assert list((home / "state").glob("*-*53"))
    with HomeLog(home / "log", writer=True) as log:
        [served] = [one.record for batch in log.read(52) for one in from_batch(batch)]
    assert getattr(served, "request_id", "") == page["request_id"]


def test_an_acknowledged_event_outlives_a_server_that_is_killed(server: Server, home: Path) -> None:
    process, address = server
    event = {"event_id": "e1", "ts_ms": 0, "item_id": "i1", "action": "like", "user_id": "u1"}
    assert httpx.post(f"{address}/v1/events", json=[event]).json()["results"][0]["status"] == "accepted"
    process.kill()
    process.wait()
    with HomeLog(home / "log", writer=True) as log:
        assert log.end() == 52


def test_a_taken_port_is_named_before_the_home_is_opened(home: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f"127.0.0.1:{port}"):
            serve(Settings(str(home), port=port), print)
    Engine.open(home).close()


def test_a_home_without_a_bundle_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="huozhao train"):
        serve(Settings(str(tmp_path), port=0), print)


def test_a_server_open_to_others_is_refused(home: Path) -> None:
    with pytest.raises(SettingsError, match="--allow-remote"):
        serve(Settings(str(home), "0.0.0.0", 0), print)


def test_a_home_whose_log_is_ahead_of_the_clock_is_not_served(home: Path) -> None:
    with Engine.open(home) as engine:
        far = time.time_ns() // 1_000_000 + 86_400_000
        engine.append([Event("ahead", far, "i1", Action.LIKE, "u1")], far)
    with pytest.raises(SettingsError, match="ahead of the clock"):
        serve(Settings(str(home), port=0), print)
    Engine.open(home).close()
