"""The server as a process: it answers, and when told to stop it drains, keeps what it owes and lets go."""

import signal
import socket
import time
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from features.errors import BundleError, LogError
from features.logs.live import HomeLog
from features.logs.log import from_batch
from features.records import Action, Event
from ranking.engine import Engine
from serving import Settings, SettingsError, serve
from tests.serving.conftest import Server, served


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_is_told_to_stop_keeps_what_it_owes_and_lets_go(
    server: Server, home: Path, told: signal.Signals
) -> None:
    process, address = server
    assert address.startswith("http://127.0.0.1:")
    now_ms = time.time_ns() // 1_000_000
    event = {"event_id": "e1", "ts_ms": now_ms, "item_id": "i1", "action": "like", "user_id": "u1"}
    assert httpx.post(f"{address}/v1/events", json=[event]).json()["results"] == [{"status": "accepted", "offset": 51}]
    page = httpx.post(f"{address}/v1/feed", json={"user_id": "u1", "deadline_ms": 60_000}).json()
    assert page["read_offset"] == 52
    assert abs(page["now_ms"] - now_ms) < 600_000
    assert httpx.get(f"{address}/v1/similar?item_id=%ff%00").status_code == 404
    with pytest.raises(LogError, match="Another writer"):
        Engine.open(home)
    process.send_signal(told)
    assert process.wait(timeout=30) == 0
    assert list((home / "state").glob("*-*53"))
    with HomeLog(home / "log", writer=True) as log:
        [served] = [one.record for batch in log.read(52) for one in from_batch(batch)]
    assert getattr(served, "request_id", "") == page["request_id"]


def test_requests_that_have_begun_are_answered_after_the_server_was_told_to_stop(server: Server, home: Path) -> None:
    process, address = server
    host, _, port = address.removeprefix("http://").rpartition(":")
    body = b'{"user_id": "u1", "explain": true, "deadline_ms": 60000}'
    head = b"POST /v1/feed HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    wire = head % len(body) + body
    lines = [socket.create_connection((host, int(port))) for _ in range(20)]
    httpx.post(f"{address}/v1/feed", content=body, headers={"content-type": "application/json"})
    for line in lines:
        line.sendall(wire)
    assert lines[0].recv(1, socket.MSG_PEEK)
    process.send_signal(signal.SIGTERM)
    answers = []
    for line in lines:
        with line, line.makefile("rb") as answer:
            answers.append(answer.read())
    assert process.wait(timeout=30) == 0
    begun = [answer for answer in answers if answer]
    assert begun
    assert all(answer.startswith(b"HTTP/1.1 200") and answer.endswith(b"}") for answer in begun)
    with Engine.open(home) as again:
        # One page was asked for before; every other that was answered is in the log as well, each with its decision.
        assert again.status(0).offset == 51 + 2 * (1 + len(begun))


@pytest.mark.parametrize("by", ["time", "a second SIGINT"])
def test_a_drain_that_is_cut_short_is_no_success_and_still_closes_the_home(home: Path, by: str) -> None:
    body = b'{"user_id": "u1", "deadline_ms": 60000}'
    head = b"POST /v1/feed HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n"
    with served(home, drain_s=1 if by == "time" else 60) as (process, address):
        assert httpx.post(f"{address}/v1/feed", content=body, headers={"content-type": "application/json"}).is_success
        host, _, port = address.removeprefix("http://").rpartition(":")
        with socket.create_connection((host, int(port))) as line:
            line.sendall(head + body)
            # The server has read it once it has answered who came later.
            assert httpx.get(f"{address}/healthz").is_success
            process.send_signal(signal.SIGTERM)
            if by != "time":
                time.sleep(0.3)
                process.send_signal(signal.SIGINT)
            answer = line.makefile("rb").read()
        assert process.wait(timeout=30) > 0
    if by == "time":
        assert answer.startswith(b"HTTP/1.1 503")
        assert b'"code":"stopping"' in answer
    assert list((home / "state").glob("*-*52"))


def test_a_server_is_ready_once_its_log_takes_records(server: Server) -> None:
    _, address = server
    answer, status = httpx.get(f"{address}/readyz"), httpx.get(f"{address}/v1/status").json()
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert (status["offset"], status["writer"]) == (51, True)


def test_an_acknowledged_event_outlives_a_server_that_is_killed(server: Server, home: Path) -> None:
    process, address = server
    now_ms = time.time_ns() // 1_000_000
    event = {"event_id": "e1", "ts_ms": now_ms, "item_id": "i1", "action": "like", "user_id": "u1"}
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
