"""The contract, through the door that apps use, over a real engine."""

import gzip
import logging
import resource
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from litestar.testing import TestClient

from features.logs.archive import Archive
from features.logs.live import HomeLog
from features.logs.log import DAY_MS, day_name, from_batch
from features.records import Action, Event, Item, Served
from ranking.api import Ack, FeedRequest
from ranking.engine import Engine
from serving import create_app
from serving.batch import EVENTS, MAX_RECORDS, read_piece, read_rows
from serving.hot import MAX_BODY_BYTES
from serving.telemetry import Observed
from tests.small_home import FEATURES, NOW

Client = TestClient[Observed]
JSON = {"content-type": "application/json"}


class Clock:
    def __init__(self) -> None:
        self.now_ms = NOW

    def __call__(self) -> int:
        return self.now_ms


class Elements(HTMLParser):
    """What a page of HTML is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.names, self.attributes, self.links = set[str](), set[str](), set[str | None]()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links |= {value for name, value in attrs if name == "href"}


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
    answer = client.post("/v1/feed", json={"user_id": "u1", "count": 50, "deadline_ms": 60_000} | fields)
    assert answer.status_code == 200, answer.text
    return [item["item_id"] for item in answer.json()["items"]]


def results(client: Client, path: str, batch: list[Any]) -> list[dict[str, Any]]:
    answer = client.request("POST" if path == "/v1/events" else "PUT", path, json=batch)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["results"]
    return found


def test_a_page_names_its_moment_and_says_of_each_item_why(client: Client) -> None:
    page = client.post("/v1/feed", json={"user_id": "u1", "count": 5, "explain": True, "deadline_ms": 60_000}).json()
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
    assert client.delete("/v1/items", params={"item_id": taken}).json()["status"] == "accepted"
    assert taken not in feed(client)
    ranked = client.post("/v1/rank", json={"item_ids": [taken, "i1", "i2"]}).json()
    assert taken not in [item["item_id"] for item in ranked["items"]]
    assert sum(ranked["dropped"].values()) == 1
    last = [one.record for batch in HomeLog(home / "log", writer=False).read(51) for one in from_batch(batch)]
    items = [record for record in last if isinstance(record, Item)]
    assert [(item.item_id, item.listed, item.title) for item in items] == [(taken, False, f"好货 {taken[1:]}")]


def test_a_takedown_changes_the_item_as_it_is_then_whatever_else_puts_it(client: Client, home: Path) -> None:
    def put() -> None:
        for number in range(40):
            item = {"item_id": "i1", "ts_ms": NOW, "kind": "video", "title": f"{number}", "price": number}
            results(client, "/v1/items", [item])

    thread = threading.Thread(target=put)
    thread.start()
    while thread.is_alive():
        assert client.delete("/v1/items", params={"item_id": "i1"}).status_code == 200
    thread.join()
    with HomeLog(home / "log", writer=False) as log:
        records = [one.record for batch in log.read() for one in from_batch(batch)]
    rows = [record for record in records if isinstance(record, Item) and record.item_id == "i1"]
    takedowns = [(before, row) for before, row in pairwise(rows) if not row.listed]
    assert takedowns
    for before, row in takedowns:
        assert (row.title, row.price) == (before.title, before.price)


def test_ranking_orders_the_given_items_and_counts_what_it_dropped(client: Client) -> None:
    ranked = client.post(
        "/v1/rank", json={"item_ids": ["i1", "i2", "i2", "i3", "nowhere"], "user_id": "u1", "deadline_ms": 60_000}
    ).json()
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
    faults = ("user_id", "love", "ts_ms", "served", "type", "object", "object", "ts_ms", "value")
    names = ("event 'e2'", "event 'e3'", "event 'e4'", "type", "type", "", "", "event 'e5'", "event 'e6'")
    for at, (fault, name, error) in enumerate(zip(faults, names, errors, strict=True), 1):
        assert error.startswith(f"record {at}: {name}")
        assert fault in error


@pytest.mark.parametrize(
    ("piece", "said"),
    [
        (b"[" * 50 + b"]" * 50, "Expected `object`, got `array`"),
        (b'{"a": ' + b"[" * 50 + b"]" * 50 + b"}", "unknown field `a`"),
        (b'{"event_id": ' + b"[" * 50 + b"]" * 50 + b"}", "Expected `str`, got `array`"),
        (b'{"type": {}}', "type: Expected `str`, got `object`"),
        (b"9" * 5000, "Number out of range"),
    ],
)  # fmt: skip
def test_a_piece_that_is_no_record_is_rejected_whatever_is_in_it(client: Client, piece: bytes, said: str) -> None:
    good = msgspec.json.encode(event(1, "i1", "like"))
    answer = client.post("/v1/events", content=b"[" + piece + b"," + good + b"]", headers=JSON)
    assert answer.status_code == 200, answer.text
    bad, kept = answer.json()["results"]
    assert said in bad["error"]
    assert kept["status"] == "accepted"


def test_a_record_with_half_a_character_is_rejected_by_name_and_the_rest_of_its_batch_is_kept(client: Client) -> None:
    good = [msgspec.json.encode(event(n, f"i{n}", "like")) for n in (1, 2)]
    half = rb'{"event_id": "e3", "ts_ms": 1, "item_id": "\ud83d", "action": "like", "user_id": "u1"}'
    body = b"[%b,\n%b, %b]" % (good[0], half, good[1])
    answer = client.post("/v1/events", content=body, headers=JSON)
    first, bad, last = answer.json()["results"]
    assert (first["status"], last["status"]) == ("accepted", "accepted")
    assert bad["error"].startswith("record 1: item_id holds \\ud83d, half of a character")
    title = rb'{"item_id": "new", "ts_ms": 1, "kind": "video", "title": "\u73cd \ude00"}'
    found = client.put("/v1/items", content=b"[%b]" % title, headers=JSON).json()["results"]
    assert found[0]["error"].startswith("record 0: title holds \\ude00")


def test_halves_of_characters_without_number_cost_no_time() -> None:
    for bomb in (rb"\ud800" * 2_000_000, rb"\n" * 6_000_000, rb"\ud83d\ude00" * 1_000_000 + rb"\ud83d"):
        with pytest.raises(msgspec.DecodeError):
            read_rows(b'["%b"' % bomb)


def test_what_is_sent_takes_no_memory_before_it_is_known_to_be_a_record() -> None:
    nested = b"[" + b"[]," * 1_000_000 + b"[]]"
    bomb = b"[%b]" % b",".join((nested, b'{"event_id": %b}' % nested, b'{"x": %b}' % nested, b'{"type": %b}' % nested))
    tracemalloc.start()
    try:
        assert all(isinstance(read_piece(piece, EVENTS), Ack) for piece in read_rows(bomb))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 2 * len(bomb)


def test_a_bad_item_or_person_is_named_and_no_answer_repeats_more_than_a_name(client: Client) -> None:
    [item] = results(client, "/v1/items", [{"item_id": "新品/1", "ts_ms": NOW, "kind": "song"}])
    [user] = results(client, "/v1/users", [{"user_id": "u9"}])
    assert item["error"].startswith("record 0: item '新品/1': Invalid enum value 'song'")
    assert user["error"].startswith("record 0: user 'u9': ")
    long = results(client, "/v1/events", [{"event_id": "e" * 100_000}, {"type": ["e" * 100_000]}])
    assert all(len(one["error"]) < 300 for one in long)


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
    assert client.get("/v1/similar?item_id=i3&k=4").json() == answer
    near = [item["item_id"] for item in answer["items"]]
    assert answer["item_id"] == "i3"
    assert 0 < len(near) <= 4
    assert "i3" not in near
    assert {item["kind"] for item in answer["items"]} == {"video"}


@pytest.mark.parametrize("item_id", ["新品/1", "a b", "%", "%2F", "/a//b/", "?k=1&item_id=i1#", "..", "x" * 128])
def test_whatever_id_an_item_was_put_under_it_can_be_compared_and_taken_down(client: Client, item_id: str) -> None:
    item = {"item_id": item_id, "ts_ms": NOW, "kind": "video", "author_id": "new", "live_from_ms": NOW}
    results(client, "/v1/items", [item])
    assert item_id in feed(client)
    answer = client.get("/v1/similar", params={"item_id": item_id}).json()
    assert answer["item_id"] == item_id
    assert answer["items"]
    assert client.delete("/v1/items", params={"item_id": item_id}).json()["status"] == "accepted"
    assert item_id not in feed(client)


def test_a_page_says_its_level_and_one_fetched_earlier_can_be_checked(client: Client) -> None:
    page = client.post("/v1/feed", json={"user_id": "u1", "deadline_ms": 60_000}).json()
    assert (page["level"], page["degraded"]) == ("full", "")
    names = [item["item_id"] for item in page["items"]]
    ended = next(name for name in names if int(name[1:]) % 4 == 0)
    results(client, "/v1/events", [event(1, ended, "room_end")])
    answer = client.post("/v1/alive", json={"user_id": "u1", "item_ids": [*names, "nothing"]}).json()
    assert answer["item_ids"] == [name for name in names if name != ended]
    assert answer["gone"] == {ended: "dead_room", "nothing": "unknown"}


PROBLEMS = [
    ("PUT", "/v1/items", b"[" * 100_000, 400, "invalid_request", "nests too deep"),
    ("PUT", "/v1/items", b" " * (MAX_BODY_BYTES + 1), 413, "too_large", ""),
    ("PUT", "/v1/users", b"[" + b"0," * MAX_RECORDS + b"0]", 400, "invalid_request", "in another request"),
    ("POST", "/v1/feed", b'{"deadline_ms": 0}', 400, "invalid_request", "deadline_ms"),
    ("POST", "/v1/alive", b'{"item_ids": []}', 400, "invalid_request", "item_ids"),
    ("POST", "/v1/feed", b'{"count": 0}', 400, "invalid_request", "count"),
    ("POST", "/v1/feed", b'{"surface": "nope"}', 404, "unknown_surface", "There are feed, plaza, mall"),
    ("POST", "/v1/rank", b'{"item_ids": ["i1"], "surface": "nope"}', 404, "unknown_surface", "'nope'"),
    ("POST", "/v1/alive", b'{"item_ids": ["i1"], "surface": "nope"}', 404, "unknown_surface", "'nope'"),
    ("POST", "/v1/feed", b'{"count": "5"}', 400, "invalid_request", "body: Expected `int`, got `str` - at `$.count`"),
    ("POST", "/v1/feed", b'{"explain": 1}', 400, "invalid_request", "explain"),
    ("POST", "/v1/rank", b'{"item_ids": [1]}', 400, "invalid_request", "item_ids"),
    ("POST", "/v1/feed", b'{"count": NaN}', 400, "invalid_request", ""),
    ("POST", "/v1/feed", b'{"cuont": 1}', 400, "invalid_request", "cuont"),
    ("POST", "/v1/feed", b'{"user_id": "' + b"u" * 129 + b'"}', 400, "invalid_request", "user_id"),
    ("POST", "/v1/feed", b"{", 400, "invalid_request", ""),
    ("POST", "/v1/feed", b"", 400, "invalid_request", "body: is empty, and must be JSON"),
    ("POST", "/v1/events", b"", 400, "invalid_request", "body: is empty, and must be JSON"),
    ("POST", "/v1/feed", b"null", 400, "invalid_request", "body: Expected `object`"),
    ("POST", "/v1/rank", b'{"item_ids": []}', 400, "invalid_request", "item_ids"),
    ("POST", "/v1/events", b"[]", 400, "invalid_request", "length"),
    ("POST", "/v1/events", b"{}", 400, "invalid_request", "array"),
    ("POST", "/v1/events", b"[" * 100_000, 400, "invalid_request", "nests too deep"),
    ("POST", "/v1/events", b'["\xff"]', 400, "invalid_request", "cannot be read"),
    ("POST", "/v1/events", b"[" + b"0," * MAX_RECORDS + b"0]", 400, "invalid_request", str(MAX_RECORDS)),
    ("POST", "/v1/events", b" " * (MAX_BODY_BYTES + 1), 413, "too_large", ""),
    ("DELETE", "/v1/items?item_id=nowhere", b"", 404, "not_available", "'nowhere'"),
    ("DELETE", "/v1/items", b"", 400, "invalid_request", "item_id"),
    ("GET", "/v1/similar?item_id=nowhere", b"", 404, "not_available", "'nowhere'"),
    ("GET", "/v1/similar?item_id=", b"", 400, "invalid_request", "item_id"),
    ("GET", "/v1/similar?item_id=" + "i" * 129, b"", 400, "invalid_request", "item_id"),
    ("GET", "/v1/similar?item_id=i1&k=0", b"", 400, "invalid_request", "k"),
    ("GET", "/v1/similar?item_id=i1&k=few", b"", 400, "invalid_request", "k"),
    ("POST", "/v1/feed/", b"{}", 404, "not_found", "slash"),
    ("PUT", "/v1//items", b"[]", 404, "not_found", "slash"),
    ("GET", "/v2/feed", b"", 404, "not_found", ""),
    ("GET", "/v1/feed", b"", 405, "method_not_allowed", ""),
    ("POST", "/v1/feed", rb'{"user_id": "\ud800"}', 400, "invalid_request", "body: user_id holds \\ud800, half of a"),
    ("POST", "/v1/feed", rb'{"count": 1, "user_id": "a\uDC00b"}', 400, "invalid_request", "user_id holds \\uDC00"),
    (
        "POST",
        "/v1/feed",
        rb'{"seen": ["\\\\\ud83d\ude00", "\ud83d\ud83d\ude00"]}',
        400,
        "invalid_request",
        "seen holds",
    ),
    ("POST", "/v1/feed", rb'{"\ud800": 1}', 400, "invalid_request", "a text holds"),
    ("POST", "/v1/feed", rb'{"user_id": "\\ud800', 400, "invalid_request", "truncated"),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "code", "named"), PROBLEMS)
def test_every_fault_is_a_problem_with_a_status_a_stable_code_and_its_place(
    client: Client, method: str, path: str, body: bytes, status: int, code: str, named: str
) -> None:
    answer = client.request(method, path, content=body, headers=JSON)
    problem = answer.json()
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert (answer.status_code, problem["status"], problem["code"]) == (status, status, code)
    assert problem["title"]
    assert named in problem["detail"]


@pytest.mark.parametrize("method_and_path", ["POST /v1/feed", "POST /v1/events", "PUT /v1/items", "PUT /v1/users"])
@pytest.mark.parametrize("sent", ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonp", "é"])
def test_a_body_that_a_page_of_another_site_could_send_is_refused(
    client: Client, method_and_path: str, sent: str
) -> None:
    method, path = method_and_path.split()
    headers = [(b"content-type", sent.encode())] if sent else []
    answer = client.request(method, path, content=b"[]", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")
    assert answer.headers["content-type"] == "application/problem+json"
    named = {"content-type": "Application/JSON ; charset=utf-8"}
    assert client.request(method, path, content=b"[", headers=named).json()["code"] == "invalid_request"
    packed = client.request(method, path, content=gzip.compress(b"[]"), headers=named | {"content-encoding": "gzip"})
    assert (packed.status_code, packed.json()["code"]) == (415, "unsupported_media_type")
    assert "'gzip'" in packed.json()["detail"]


def test_records_that_cannot_be_kept_are_not_accepted(home: Path, clock: Clock) -> None:
    engine = Engine.open(home)
    with TestClient(create_app(engine, clock), raise_server_exceptions=False) as client:
        engine.close()
        answer = client.post("/v1/events", json=[event(1, "i1", "like")])
        assert (answer.status_code, answer.json()["code"]) == (503, "log_unavailable")
        ready = client.get("/readyz")
        assert (ready.status_code, ready.json()["code"]) == (503, "log_unavailable")
        assert client.get("/healthz").status_code == 200


def test_a_server_whose_disk_is_full_is_not_ready_though_nobody_writes(home: Path, clock: Clock) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with TestClient(create_app(Engine.open(home), clock), raise_server_exceptions=False) as client:
        assert client.get("/readyz").status_code == 200
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, limits[1]))
        try:
            full = [client.get("/readyz").status_code for _ in range(2)]
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert full == [503, 503]
        assert client.get("/readyz").status_code == 200
        assert client.post("/v1/events", json=[event(1, "i1", "like")]).json()["results"][0]["status"] == "accepted"


def test_pages_that_several_threads_compute_are_those_that_one_does(home: Path, clock: Clock) -> None:
    pages = []
    with Engine.open(home) as engine:
        pages.append([item.item_id for item in engine.feed(FeedRequest(user_id="u1", count=50), NOW, "r").items])
    with TestClient(create_app(Engine.open(home), clock, lambda: "r", threads=2)) as client:
        pages += [feed(client), feed(client)]
        assert client.post("/v1/feed", content=b"{", headers=JSON).status_code == 400
    assert pages[0] == pages[1] == pages[2]


def test_checks_and_neighbours_that_would_come_late_are_turned_away(
    home: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, gate = threading.Semaphore(0), threading.Event()

    def slow(*_: object) -> tuple[()]:
        entered.release()
        assert gate.wait(60)
        return ()

    engine, codes = Engine.open(home), dict[str, str]()
    monkeypatch.setattr(engine, "similar", slow)
    with TestClient(create_app(engine, clock, threads=2), raise_server_exceptions=False) as client:

        def similar(name: str, deadline_ms: int) -> None:
            answer = client.get(f"/v1/similar?item_id=i3&deadline_ms={deadline_ms}")
            codes[name] = answer.json().get("code", "")
            assert answer.status_code == 200 or int(answer.headers["retry-after"]) >= 1

        def alive(name: str, deadline_ms: int) -> None:
            answer = client.post("/v1/alive", json={"item_ids": ["i1"], "deadline_ms": deadline_ms})
            codes[name] = answer.json().get("code", "")

        asked = [(similar, "first", 60_000), (similar, "second", 60_000), (similar, "late", 1), (alive, "too late", 1)]
        asked.append((alive, "patient", 60_000))
        threads = [threading.Thread(target=ask, args=(name, deadline_ms)) for ask, name, deadline_ms in asked]
        for thread in threads[:2]:
            thread.start()
        assert all(entered.acquire(timeout=60) for _ in range(2))
        for thread in threads[2:]:
            thread.start()
        time.sleep(0.1)
        gate.set()
        for thread in threads:
            thread.join()
    assert codes == {"first": "", "second": "", "late": "overloaded", "too late": "overloaded", "patient": ""}


def test_a_fault_of_ours_tells_no_insides(
    home: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("the names have run out")

    engine = Engine.open(home)
    monkeypatch.setattr(engine, "feed", broken)
    with TestClient(create_app(engine), raise_server_exceptions=False) as client:
        answer = client.post("/v1/feed", json={})
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "names" not in answer.text
    assert "the names have run out" in caplog.text


def test_a_fault_of_the_disk_names_no_file_to_who_asked_and_does_so_in_the_log(
    home: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    engine = Engine.open(home)
    with TestClient(create_app(engine, clock), raise_server_exceptions=False) as client:
        engine.close()
        answer = client.post("/v1/events", json=[event(1, "i1", "like")])
    assert answer.json()["code"] == "log_unavailable"
    assert str(home) not in answer.text
    assert str(home) in caplog.text


def test_no_answer_is_kept_by_a_cache_or_taken_for_another_type(client: Client) -> None:
    for path in ("/schema", "/v1/similar?item_id=i1", "/nowhere", "/healthz", "/metrics"):
        headers = client.get(path).headers
        assert (headers["cache-control"], headers["x-content-type-options"]) == ("no-store", "nosniff"), path
    assert "default-src 'none'" in client.get("/schema").headers["content-security-policy"]


def test_a_body_that_is_packed_is_not_unpacked(client: Client) -> None:
    bomb = gzip.compress(b'{"user_id": "' + b"u" * 10_000_000)
    answer = client.post("/v1/feed", content=bomb, headers=JSON | {"content-encoding": "gzip"})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")
    assert len(answer.text) < 1000


def test_a_row_has_no_more_attributes_than_it_may(client: Client) -> None:
    item = {"item_id": "many", "ts_ms": NOW, "kind": "video"}
    rows = [item | {"attributes": {f"a{n}": 1.0 for n in range(many)}} for many in (256, 257)]
    found = results(client, "/v1/items", rows)
    assert [one["status"] for one in found] == ["accepted", "rejected"]
    assert "attributes has 257 entries, more than 256" in found[1]["error"]


def wait_for(happened: Callable[[], bool]) -> None:
    while not happened():
        time.sleep(0.005)


def test_past_days_move_to_the_archive_when_a_server_starts_and_while_it_runs(
    home: Path, clock: Clock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "serving")
    archive = Archive(home / "log" / "archive")
    with Engine.open(home) as engine:
        engine.append([Event("before", NOW, "i1", Action.LIKE, "u1")], NOW)
    clock.now_ms += DAY_MS
    monkeypatch.setattr("serving.archiver.ARCHIVE_EVERY_S", 0.01)
    with TestClient(create_app(Engine.open(home), clock)) as client:
        wait_for(lambda: archive.end() == 52)
        results(client, "/v1/events", [event(1, "i1", "like", ts_ms=clock.now_ms)])
        assert archive.end() == 52
        clock.now_ms += DAY_MS
        wait_for(lambda: archive.end() == 53)
        results(client, "/v1/events", [event(2, "i1", "like", ts_ms=clock.now_ms)])
        duplicates = [event(1, "i1", "like"), event("before", "i1", "like") | {"event_id": "before"}]
        assert [one["status"] for one in results(client, "/v1/events", duplicates)] == ["duplicate"] * 2
    assert caplog.messages.count("1 records of past days moved to the archive") == 2
    assert HomeLog(home / "log", writer=False).end() == 54


def test_an_archive_that_cannot_be_written_is_told_and_pages_are_served(
    home: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    with Engine.open(home) as engine:
        engine.append([Event("before", NOW, "i1", Action.LIKE, "u1")], NOW)
    (home / "log" / "archive" / day_name(NOW)).touch()
    clock.now_ms += DAY_MS
    with TestClient(create_app(Engine.open(home), clock)) as client:
        wait_for(lambda: "could not be archived" in caplog.text)
        assert feed(client)
    assert day_name(NOW) in caplog.text


def test_requests_and_events_from_many_threads_are_all_answered(client: Client) -> None:
    faults: list[str] = []

    def use(thread: int) -> None:
        for n in range(10):
            answers = [
                client.post("/v1/events", json=[event(f"{thread}-{n}", f"i{n}", "click")]),
                client.post("/v1/feed", json={"user_id": f"u{thread}", "deadline_ms": 60_000}),
            ]
            faults.extend(answer.text for answer in answers if answer.status_code != 200)

    threads = [threading.Thread(target=use, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert client.get("/v1/status").json()["offset"] >= 51 + 40


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
    assert client.get("/readyz").json() == {"status": "ok"}
    status = client.get("/v1/status").json()
    assert (status["offset"], status["users"], status["items"], status["rooms_alive"]) == (51, 1, 40, 10)
    assert set(status["indexes"]) == {"room", "product", "video"}
    assert sum(index["vectors"] for index in status["indexes"].values()) <= 40
    assert all(index["bytes"] > 0 and not index["training"] for index in status["indexes"].values())


def test_the_contract_is_a_page_and_a_document_that_need_no_network(client: Client) -> None:
    document = client.get("/schema/openapi.json")
    assert document.headers["content-type"] == "application/json"
    assert document.json()["openapi"].startswith("3.1")
    page = client.get("/schema")
    assert page.headers["content-type"].startswith("text/html")
    assert "//" not in page.text
    assert "/v1/feed" in page.text


def test_the_contract_shows_itself_within_what_its_policy_allows_a_browser(client: Client) -> None:
    page = client.get("/schema")
    allowed = dict(part.strip().split(" ", 1) for part in page.headers["content-security-policy"].split(";"))
    assert allowed.pop("style-src") == "'unsafe-inline'"
    assert set(allowed.values()) == {"'none'"}
    elements = Elements()
    elements.feed(page.text)
    # Nothing is fetched and nothing runs: of what a browser would load there is a style that stands in the page.
    assert elements.names <= {"html", "meta", "title", "style", "h1", "h2", "p", "a", "code", "pre", "details"}
    assert elements.attributes <= {"lang", "charset", "href", "id"}
    assert elements.links == {"/schema/openapi.json"}
    assert "@import" not in page.text
    assert "url(" not in page.text
