"""Keys: who has none, or not the right one, is turned away; they change while the server runs."""

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from litestar.testing import TestClient

from ranking.engine import Engine
from serving import Settings, SettingsError, create_app, keys
from serving.keys import Bucket, KeyFileError
from serving.telemetry import Observed
from tests.small_home import NOW

Client = TestClient[Observed]
Call = tuple[str, str, object]
LIKE = {"event_id": "e", "ts_ms": NOW, "item_id": "i1", "action": "like", "user_id": "u"}
CALLS: dict[str, list[Call]] = {
    "read": [
        ("POST", "/v1/feed", {}),
        ("POST", "/v1/alive", {"item_ids": ["i1"]}),
        ("GET", "/v1/items/i1/similar", None),
    ],
    "events": [("POST", "/v1/events", [LIKE])],
    "catalog": [("PUT", "/v1/users", [{"user_id": "u9", "ts_ms": NOW}]), ("DELETE", "/v1/items?item_id=i1", None)],
    "admin": [("GET", "/v1/status", None)],
}


@pytest.fixture
def client(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setattr(keys, "LOOK_EVERY_MS", -1.0)
    with TestClient(create_app(Engine.open(home), lambda: NOW), raise_server_exceptions=False) as client:
        yield client


def code(client: Client, call: Call, token: str = "") -> tuple[int, str]:
    method, path, body = call
    headers = {"authorization": f"Bearer {token}"} if token else {}
    answer = client.request(method, path, json=body, headers=headers) if body is not None else client.request(
        method, path, headers=headers
    )  # fmt: skip
    if answer.status_code >= 400:
        assert answer.headers["content-type"].startswith("application/problem+json")
        assert token not in answer.text or not token
    return answer.status_code, answer.json().get("code", "")


def test_without_keys_nobody_is_asked_for_one(client: Client) -> None:
    assert all(code(client, call) == (200, "") for calls in CALLS.values() for call in calls)


@pytest.mark.parametrize("scope", CALLS)
def test_a_key_opens_its_scope_and_no_other(client: Client, home: Path, scope: str) -> None:
    token = keys.add(home, "app", [scope])
    for wanted, calls in CALLS.items():
        for call in calls:
            found = code(client, call, token)
            assert found == ((200, "") if scope in (wanted, "admin") else (403, "forbidden")), call
            assert code(client, call) == (401, "unauthorized")
            assert code(client, call, token + "x") == (401, "unauthorized")
    assert client.get("/healthz").status_code == client.get("/schema").status_code == 200


def test_a_balancer_that_holds_no_key_learns_whether_the_server_is_ready_and_nothing_else(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keys.add(home, "app", ["read"])
    engine = Engine.open(home)
    with TestClient(create_app(engine, lambda: NOW), raise_server_exceptions=False) as client:
        wrong = {"authorization": "Bearer hz_wrong"}
        assert [client.get("/readyz", headers=sent).json() for sent in ({}, wrong)] == [{"status": "ok"}] * 2
        engine.close()
        answer = client.get("/readyz")
        assert (answer.status_code, answer.json()["code"]) == (503, "log_unavailable")
        assert str(home) not in answer.text
    assert str(home) in caplog.text


def test_keys_are_rotated_while_the_server_runs(client: Client, home: Path) -> None:
    ask = CALLS["read"][0]
    old = keys.add(home, "old", ["read"])
    assert code(client, ask, old)[0] == 200
    new = keys.add(home, "new", ["read"])
    assert (code(client, ask, old)[0], code(client, ask, new)[0]) == (200, 200)
    keys.revoke(home, "old")
    assert (code(client, ask, old)[0], code(client, ask, new)[0]) == (401, 200)
    (home / keys.FILE).write_text("[")
    assert code(client, ask, new)[0] == 200
    (home / keys.FILE).unlink()
    assert (code(client, ask, new)[0], code(client, ask)[0]) == (401, 401)


def test_a_key_that_asks_too_often_is_told_when_to_come_again(client: Client, home: Path) -> None:
    token = keys.add(home, "app", ["read"], per_second=0.001)
    ask = CALLS["read"][0]
    assert code(client, ask, token) == (200, "")
    assert code(client, ask, token) == (429, "rate_limited")
    answer = client.post("/v1/feed", json={}, headers={"authorization": f"Bearer {token}"})
    assert 0 < int(answer.headers["retry-after"]) <= 1000


def test_a_bucket_fills_with_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now_ms = 0.0
    monkeypatch.setattr(keys, "elapsed_ms", lambda: now_ms)
    bucket = Bucket(10)
    assert [bucket.take() for _ in range(11)] == [0.0] * 10 + [0.1]
    now_ms = 100.0
    assert bucket.take() == 0.0
    assert bucket.take() == pytest.approx(0.1)


def test_only_hashes_are_kept_and_only_the_owner_reads_them(home: Path) -> None:
    token = keys.add(home, "app", ["read", "events"])
    place = home / keys.FILE
    assert token not in place.read_text()
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert [(key.name, key.scopes) for key in keys.read(home)] == [("app", ("read", "events"))]
    place.chmod(0o640)
    with pytest.raises(KeyFileError, match="chmod 600"):
        keys.read(home)


@pytest.mark.parametrize(
    ("name", "scopes"), [("app", ["read"]), ("", ["read"]), ("b", ["write"]), ("b", []), ("/", ["read"])]
)
def test_what_is_no_key_is_refused_by_name(home: Path, name: str, scopes: list[str]) -> None:
    keys.add(home, "app", ["read"])
    with pytest.raises(KeyFileError):
        keys.add(home, name, scopes)
    with pytest.raises(KeyFileError, match="no key 'nobody'"):
        keys.revoke(home, "nobody")


def test_beyond_this_machine_a_home_with_keys_is_served(home: Path) -> None:
    with pytest.raises(SettingsError, match="has no keys"):
        Settings(str(home), host="0.0.0.0").check()
    keys.add(home, "app", ["read"])
    Settings(str(home), host="0.0.0.0").check()


@pytest.mark.parametrize(
    ("host", "is_answered"),
    [
        ("127.0.0.1:8000", True), ("127.0.0.1", True), ("localhost:8000", True), ("[::1]:8000", True),
        ("LOCALHOST", True), ("10.0.0.7:80", True), ("rebound.example.com:8000", False),
        ("localhost.example.com", False),
        ("127.0.0.1.example.com", False), ("1234", False),
    ],
)  # fmt: skip
def test_a_home_without_keys_answers_no_name_that_could_be_another_sites(
    home: Path, host: str, is_answered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "LOOK_EVERY_MS", -1.0)
    app = create_app(Engine.open(home), lambda: NOW, any_host=False)
    with TestClient(app, raise_server_exceptions=False) as client:
        named = {b"host": host.encode()}
        answer = client.post("/v1/feed", json={}, headers=named)
        assert answer.status_code == (200 if is_answered else 403), answer.text
        assert client.get("/healthz", headers=named).status_code == 200
        token = keys.add(home, "app", ["read"])
        # A page of another site knows no key.
        found = client.post("/v1/feed", json={}, headers=named | {b"authorization": f"Bearer {token}".encode()})
        assert found.status_code == 200


def test_keys_that_go_while_they_are_looked_for_let_nobody_in(client: Client, home: Path) -> None:
    token = keys.add(home, "app", ["admin"])
    assert code(client, CALLS["admin"][0], token) == (200, "")
    (home / keys.FILE).unlink()
    assert code(client, CALLS["admin"][0], token) == (401, "unauthorized")
