"""The contract, through the door that apps use, over a real engine."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from features.live import HomeLog
from features.log import from_batch
from features.records import Item, Served
from ranking.engine import Engine
from serving import create_app
from serving.batch import MAX_RECORDS
from serving.http import MAX_BODY_BYTES
from tests.small_home import FEATURES, NOW

Client = TestClient[Litestar]


class Clock:
    def __init__(self) -> None:
        self.now_ms = NOW

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def client(home: Path, clock: Clock) -> Iterator[Client]:
    numbers = iter(range(1_000_000))
    app = create_app(Engine.open(home), clock, lambda: f"r{next(numbers)}")
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def event(number: int | str, item_id: str, action: str, **fields: object) -> dict[str, object]:
    person = {} if action.startswith("room") else {"user_id": "u1"}
    return {"event_id": f"e{number}", "ts_ms": NOW, "item_id": item_id, "action": action} | person | fields


def feed(client: Client, **fields: object) -> list[str]:
    answer = client.post("/v1/feed", json={"user_id": "u1", "count": 50} | fields)
    assert answer.status_code == 200, answer.text
    return [item["item_id"] for item in answer.json()["items"]]


def results(client: Client, path: str, batch: list[Any]) -> list[dict[str, Any]]:
    answer = client.request("POST" if path == "/v1/events" else "PUT", path, json=batch)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["results"]
    return found


def test_a_page_names_its_moment_and_says_of_each_item_why(client: Client) -> None:
    page = client.post("/v1/feed", json={"user_id": "u1", "count": 5, "explain": True}).json()
    assert (page["request_id"], page["user_id"], page["now_ms"], page["read_offset"]) == ("r0", "u1", NOW, 51)
    assert len(page["items"]) == 5
    for item in page["items"]:
        assert item["title"].startswith("好货")
        assert item["source"]
        assert item["value"] == pytest.approx(sum(item["terms"].values()))
        assert set(item["heads"]) == {"like", "complete"}
        assert len(item["features"]) == len(FEATURES.columns)


def test_a_person_nobody_knows_and_nobody_at_all_get_a_page(client: Client) -> None:
    assert feed(client, user_id="陌生人")
    assert client.post("/v1/feed", json={}).json()["items"]


def test_a_like_changes_the_next_page(client: Client) -> None:
    before = feed(client)
    liked = before[-1]
    [ack] = results(client, "/v1/events", [event(1, liked, "like")])
    assert ack == {"status": "accepted", "offset": ack["offset"]}
    after = feed(client)
    assert after != before
    assert after.index(liked) < before.index(liked)


def test_a_room_that_ended_is_gone_before_its_end_is_acknowledged(client: Client) -> None:
    room = next(item for item in feed(client) if int(item[1:]) % 4 == 0)
    results(client, "/v1/events", [event(1, room, "room_end")])
    assert room not in feed(client)


def test_a_takedown_is_gone_before_it_is_acknowledged_and_the_catalog_keeps_the_rest(
    client: Client, home: Path
) -> None:
    taken = feed(client)[0]
    assert client.delete(f"/v1/items/{taken}").json()["status"] == "accepted"
    assert taken not in feed(client)
    ranked = client.post("/v1/rank", json={"item_ids": [taken, "i1", "i2"]}).json()
    assert taken not in [item["item_id"] for item in ranked["items"]]
    assert sum(ranked["dropped"].values()) == 1
    last = [one.record for batch in HomeLog(home / "log", writer=False).read(51) for one in from_batch(batch)]
    items = [record for record in last if isinstance(record, Item)]
    assert [(item.item_id, item.listed, item.title) for item in items] == [(taken, False, f"好货 {taken[1:]}")]


def test_ranking_orders_the_given_items_and_counts_what_it_dropped(client: Client) -> None:
    ranked = client.post("/v1/rank", json={"item_ids": ["i1", "i2", "i2", "i3", "nowhere"], "user_id": "u1"}).json()
    assert sorted(item["item_id"] for item in ranked["items"]) == ["i1", "i2", "i3"]
    values = [item["value"] for item in ranked["items"]]
    assert values == sorted(values, reverse=True)
    assert ranked["dropped"] == {"unknown": 1}


def test_a_bad_record_is_rejected_by_name_and_the_rest_of_its_batch_is_kept(client: Client) -> None:
    batch = [
        event(1, "i1", "like"),
        event(2, "i1", "like", user_id=""),
        event(3, "i1", "love"),
        {"event_id": "e4"},
        {"type": "served", "request_id": "r"},
        {"type": ["event"]},
        "like",
        None,
        event(5, "i1", "like", ts_ms=NOW + 3_600_000),
        event(6, "i1", "watch", value=-5),
        event(1, "i1", "like"),
        {"type": "control", "user_id": "u1", "ts_ms": NOW, "command": "hide_author", "target": "a1"},
    ]
    found = results(client, "/v1/events", batch)
    assert [one["status"] for one in found] == ["accepted", *["rejected"] * 9, "duplicate", "accepted"]
    assert [one["offset"] for one in found if one["status"] == "accepted"] == [51, 52]
    errors = [one["error"] for one in found[1:10]]
    for named, error in zip(
        ("user_id", "love", "ts_ms", "served", "type", "record 6", "record 7", "ts_ms", "value"), errors, strict=True
    ):
        assert named in error


def test_what_a_person_hides_is_never_shown_to_them_again(client: Client) -> None:
    author = {f"i{n}" for n in range(40) if n % 10 == 3}
    control = {"type": "control", "user_id": "u1", "ts_ms": NOW, "command": "hide_author", "target": "a3"}
    assert author & set(feed(client))
    results(client, "/v1/events", [control])
    assert not author & set(feed(client))
    assert author & set(feed(client, user_id="u2"))


def test_items_and_users_are_put_whole_and_served_at_once(client: Client) -> None:
    item = {"item_id": "新品/1", "ts_ms": NOW, "kind": "video", "author_id": "new", "live_from_ms": NOW}
    found = results(client, "/v1/items", [item, {**item, "price": -1}, {**item, "type": "event"}])
    assert [one["status"] for one in found] == ["accepted", "rejected", "rejected"]
    assert "新品/1" in feed(client)
    found = results(client, "/v1/users", [{"user_id": "u9", "ts_ms": NOW, "gender": "f"}, {"user_id": "u9"}])
    assert [one["status"] for one in found] == ["accepted", "rejected"]


def test_similar_items_are_of_one_kind_and_not_the_item_itself(client: Client) -> None:
    answer = client.get("/v1/items/i3/similar?k=4").json()
    near = [item["item_id"] for item in answer["items"]]
    assert answer["item_id"] == "i3"
    assert 0 < len(near) <= 4
    assert "i3" not in near
    assert {item["kind"] for item in answer["items"]} == {"video"}


PROBLEMS = [
    ("POST", "/v1/feed", b'{"count": 0}', 400, "invalid_request", "count"),
    ("POST", "/v1/feed", b'{"count": NaN}', 400, "invalid_request", ""),
    ("POST", "/v1/feed", b'{"cuont": 1}', 400, "invalid_request", "cuont"),
    ("POST", "/v1/feed", b'{"user_id": "' + b"u" * 129 + b'"}', 400, "invalid_request", "user_id"),
    ("POST", "/v1/feed", b"{", 400, "invalid_request", ""),
    ("POST", "/v1/feed", b"", 400, "invalid_request", ""),
    ("POST", "/v1/rank", b'{"item_ids": []}', 400, "invalid_request", "item_ids"),
    ("POST", "/v1/events", b"[]", 400, "invalid_request", "length"),
    ("POST", "/v1/events", b"{}", 400, "invalid_request", "array"),
    ("POST", "/v1/events", b"[" * 100_000, 400, "invalid_request", "cannot be read"),
    ("POST", "/v1/events", b'["\xff"]', 400, "invalid_request", "cannot be read"),
    ("POST", "/v1/events", b"[" + b"0," * MAX_RECORDS + b"0]", 400, "invalid_request", str(MAX_RECORDS)),
    ("POST", "/v1/events", b" " * (MAX_BODY_BYTES + 1), 413, "too_large", ""),
    ("DELETE", "/v1/items/nowhere", b"", 404, "not_available", "'nowhere'"),
    ("GET", "/v1/items/nowhere/similar", b"", 404, "not_available", "'nowhere'"),
    ("GET", "/v1/items/" + "i" * 129 + "/similar", b"", 400, "invalid_request", "item_id"),
    ("GET", "/v1/items/i1/similar?k=0", b"", 400, "invalid_request", "k"),
    ("GET", "/v1/items/i1/similar?k=few", b"", 400, "invalid_request", "k"),
    ("GET", "/v2/feed", b"", 404, "not_found", ""),
    ("GET", "/v1/feed", b"", 405, "method_not_allowed", ""),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "code", "named"), PROBLEMS)
def test_every_fault_is_a_problem_with_a_status_a_stable_code_and_its_place(
    client: Client, method: str, path: str, body: bytes, status: int, code: str, named: str
) -> None:
    answer = client.request(method, path, content=body, headers={"content-type": "application/json"})
    problem = answer.json()
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert (answer.status_code, problem["status"], problem["code"]) == (status, status, code)
    assert problem["title"]
    assert named in problem["detail"]


def test_records_that_cannot_be_kept_are_not_accepted(home: Path, clock: Clock) -> None:
    engine = Engine.open(home)
    with TestClient(create_app(engine, clock), raise_server_exceptions=False) as client:
        engine.close()
        answer = client.post("/v1/events", json=[event(1, "i1", "like")])
        assert (answer.status_code, answer.json()["code"]) == (503, "log_unavailable")


def test_a_fault_of_ours_tells_no_insides(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> int:
        raise ValueError("the clock fell off the wall")

    with TestClient(create_app(Engine.open(home), broken), raise_server_exceptions=False) as client:
        answer = client.post("/v1/feed", json={})
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "clock" not in answer.text
    assert "the clock fell off the wall" in caplog.text


def test_requests_and_events_from_many_threads_are_all_answered(client: Client) -> None:
    faults: list[str] = []

    def use(thread: int) -> None:
        for n in range(10):
            answers = [
                client.post("/v1/events", json=[event(f"{thread}-{n}", f"i{n}", "click")]),
                client.post("/v1/feed", json={"user_id": f"u{thread}"}),
            ]
            faults.extend(answer.text for answer in answers if answer.status_code != 200)

    threads = [threading.Thread(target=use, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert client.get("/readyz").json()["offset"] >= 51 + 40


def test_closing_keeps_the_pages_that_were_served_and_a_snapshot(home: Path, clock: Clock) -> None:
    with TestClient(create_app(Engine.open(home), clock, lambda: "page")) as client:
        shown = feed(client)
    with Engine.open(home) as again:
        assert again.status(NOW).offset == 52
    [page] = [one.record for batch in HomeLog(home / "log", writer=False).read(51) for one in from_batch(batch)]
    assert isinstance(page, Served)
    assert (page.request_id, page.user_id, [slot.item_id for slot in page.slots]) == ("page", "u1", shown)


def test_the_server_says_that_it_runs_and_how_it_stands(client: Client) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    status = client.get("/readyz").json()
    assert (status["offset"], status["users"], status["items"], status["rooms_alive"]) == (51, 1, 40, 10)


def test_the_contract_is_a_page_and_a_document_that_need_no_network(client: Client) -> None:
    document = client.get("/schema/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    served = {(method, path) for path, item in document["paths"].items() for method in item}
    assert served == {
        ("post", "/v1/feed"),
        ("post", "/v1/rank"),
        ("post", "/v1/events"),
        ("put", "/v1/items"),
        ("delete", "/v1/items/{item_id}"),
        ("put", "/v1/users"),
        ("get", "/v1/items/{item_id}/similar"),
        ("get", "/healthz"),
        ("get", "/readyz"),
    }
    batch = document["paths"]["/v1/events"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    names = [option["$ref"].rpartition("/")[2] for option in batch["items"]["oneOf"]]
    assert (names, batch["maxItems"]) == (["Event", "Control"], MAX_RECORDS)
    assert {"Event", "Control", "Item", "User", "Feed", "Problem"} <= set(document["components"]["schemas"])
    page = client.get("/schema")
    assert page.headers["content-type"].startswith("text/html")
    assert "//" not in page.text
    assert "/v1/feed" in page.text
