"""What a server tells of its requests: counts, times, lines and traces, and nobody's name."""

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import msgspec
import pytest
from litestar.testing import TestClient
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.parser import text_string_to_metric_families

from ranking.engine import Engine
from serving import create_app
from serving.asked import ASKED, Asked, person_of
from serving.logs import HIDDEN, Format, Lines
from serving.telemetry import Observed, Routes
from serving.traces import Traces
from tests.small_home import NOW

Client = TestClient[Observed]
ALERTS = Path(__file__).parents[2] / "docs" / "examples" / "alerts.yml"
OPERATIONS = ALERTS.parents[1] / "operations.md"
ASK = {"user_id": "u1", "count": 5, "deadline_ms": 60_000}


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def traces(spans: InMemorySpanExporter) -> Traces:
    return Traces(spans)


@pytest.fixture
def client(home: Path, traces: Traces) -> Iterator[Client]:
    numbers = iter(range(1_000_000))
    app = create_app(Engine.open(home), lambda: NOW, lambda: f"r{next(numbers)}", traces=traces)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def told(client: Client) -> dict[str, float]:
    """Every sample, by its name and its labels."""
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    return {
        " ".join([sample.name, *(f"{name}={value}" for name, value in sorted(sample.labels.items()))]): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_pages_are_counted_by_route_rung_stage_source_and_reason(client: Client) -> None:
    page = client.post("/v1/feed", json=ASK).json()
    client.post("/v1/feed", content=b"{", headers={"content-type": "application/json"})
    found = told(client)
    assert found["huozhao_answers_total route=POST /v1/feed status=200"] == 1
    assert found["huozhao_answers_total route=POST /v1/feed status=400"] == 1
    assert found["huozhao_answer_seconds_count route=POST /v1/feed"] == 2
    assert found["huozhao_page_seconds_count rung=full"] == 1
    for stage in ("wait", "retrieve", "score", "finish"):
        assert found[f"huozhao_stage_seconds_count stage={stage}"] == 1
        assert found[f"huozhao_stage_seconds_sum stage={stage}"] > 0
    shown = [item["source"] for item in page["items"]]
    assert {name: found[f"huozhao_items_shown_total source={name}"] for name in shown} == {
        name: shown.count(name) for name in shown
    }
    assert all(found[f"huozhao_dropped_total reason={reason}"] == n for reason, n in page["dropped"].items())
    assert sum(value for name, value in found.items() if name.startswith("huozhao_candidates_total")) >= len(shown)


def test_records_are_counted_by_what_became_of_them(client: Client) -> None:
    event = {"event_id": "e", "ts_ms": NOW, "item_id": "i1", "action": "like", "user_id": "u1"}
    client.post("/v1/events", json=[event, event, {}])
    client.put("/v1/users", json=[{"user_id": "u9", "ts_ms": NOW}])
    found = told(client)
    assert found["huozhao_records_total status=accepted"] == 2
    assert found["huozhao_records_total status=duplicate"] == 1
    assert found["huozhao_records_total status=rejected"] == 1
    assert found["huozhao_keep_seconds_count"] == 2


def test_how_the_engine_stands_is_told_as_its_status_tells_it(client: Client) -> None:
    status, found = client.get("/v1/status").json(), told(client)
    assert found[f"huozhao_info bundle={status['bundle']} policy={status['policy']}"] == 1
    for name in ("users", "items", "rooms_alive"):
        assert found[f"huozhao_{name}"] == status[name]
    assert found["huozhao_log_offset"] == status["offset"]
    assert found["huozhao_log_received_timestamp_seconds"] == status["received_ms"] / 1e3
    assert found["huozhao_policy_fault"] == 0
    for kind, index in status["indexes"].items():
        assert found[f"huozhao_index_vectors kind={kind}"] == index["vectors"]


def test_alarms_and_their_runbook_ask_for_what_is_told(client: Client) -> None:
    event = {"event_id": "e", "ts_ms": NOW, "item_id": "i1", "action": "like", "user_id": "u1"}
    client.post("/v1/events", json=[event])
    client.post("/v1/feed", json=ASK)
    text = client.get("/metrics").text
    page = OPERATIONS.read_text("utf-8")
    wanted = set(re.findall(r"huozhao_[a-z_0-9]+", ALERTS.read_text() + page)) - {"huozhao_index_"}
    families = {f"huozhao_{name}" for name in re.findall(r"^# TYPE huozhao_(\w+)", text, re.MULTILINE)}
    assert {re.sub(r"_(bucket|count|sum)$", "", name) for name in wanted} <= families
    told_of = {name for name in families if name in page or name.startswith("huozhao_index_")}
    assert {name for name in families if not name.endswith("_created")} <= told_of


def test_every_alarm_has_its_entry_in_the_runbook() -> None:
    alarms = re.findall(r"- alert: (\w+)", ALERTS.read_text())
    runbook = OPERATIONS.read_text("utf-8").partition("## Runbook")[2]
    entries = dict(re.findall(r"^### (\w+)\n(.+?)(?=^###? |\Z)", runbook, re.MULTILINE | re.DOTALL))
    assert list(entries) == alarms
    assert all("**Look**" in text and "**Do**" in text for text in entries.values())


def test_no_metric_holds_an_id(client: Client) -> None:
    client.post("/v1/feed", json=ASK | {"user_id": "somebody"})
    client.delete("/v1/users/somebody")
    client.get("/v1/items/something/similar")
    client.get("/secret/somebody")
    text = client.get("/metrics").text
    assert 'route="DELETE /v1/users/{user_id}"' in text
    assert 'route="GET unknown"' in text
    assert "somebody" not in text
    assert "something" not in text


def test_every_answer_names_its_request(client: Client) -> None:
    page = client.post("/v1/feed", json=ASK)
    assert page.headers["x-request-id"] == page.json()["request_id"]
    assert client.get("/healthz").headers["x-request-id"] != page.headers["x-request-id"]
    assert client.get("/nowhere").headers["x-request-id"]


def test_a_page_is_a_trace_of_its_stages_below_the_callers_own(
    client: Client, traces: Traces, spans: InMemorySpanExporter
) -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    page = client.post("/v1/feed", json=ASK, headers={"traceparent": parent}).json()
    client.get("/healthz")
    traces.stop()
    found = {span.name: span for span in spans.get_finished_spans()}
    whole = found["POST /v1/feed"]
    assert whole.attributes is not None
    assert whole.attributes["huozhao.request_id"] == page["request_id"]
    assert "u1" not in map(str, whole.attributes.values())
    assert whole.parent is not None
    assert f"{whole.parent.trace_id:032x}-{whole.parent.span_id:016x}" in parent
    assert {"wait", "retrieve", "score", "finish"} == found.keys() - {"POST /v1/feed"}
    assert all(span.parent == whole.get_span_context() for name, span in found.items() if span is not whole)


@pytest.mark.parametrize("form", ["plain", "json"])
@pytest.mark.parametrize("ids", [False, True])
def test_a_line_names_the_request_and_the_person_only_where_that_was_asked_for(form: Format, ids: bool) -> None:
    lines = Lines(form, ids=ids)
    ASKED.set(Asked("r7", "POST /v1/feed", person="ann"))
    try:
        raise KeyError("ann")
    except KeyError as error:
        record = logging.makeLogRecord({"msg": "no %s", "args": ("ann",), "exc_info": (KeyError, error, None)})
    line = lines.format(record)
    assert "r7" in line
    assert ("ann" in line) is ids
    assert (HIDDEN in line) is not ids
    if form == "json":
        fields = msgspec.json.decode(line)
        assert fields["request_id"] == "r7"
        assert "KeyError" in fields["trace"]


@pytest.mark.parametrize("person", ["o'brien", "a\nb", '张三 "x"', "back\\slash", "a%20b", "\x1b[2J"])
@pytest.mark.parametrize("form", ["plain", "json"])
def test_an_id_is_taken_out_however_a_fault_writes_it(person: str, form: Format) -> None:
    ASKED.set(Asked("r7", "DELETE /v1/users/{user_id}", person=person))
    told = [person, repr(person), msgspec.json.encode(person).decode()]
    lines = [Lines(form, ids=False).format(logging.makeLogRecord({"msg": one})) for one in told]
    assert all(HIDDEN in line and repr(person)[1:-1] not in line for line in lines)
    assert person_of(f"/v1/users/{person}", b"") == person
    assert person_of("/v1/users", f"user_id={quote(person)}".encode()) == person


def test_what_a_client_sent_begins_no_line_of_its_own() -> None:
    ASKED.set(Asked("r7", "POST /v1/feed"))
    forged = "x\n2026-01-01T00:00:00.000+00:00 ERROR serving: forged\r\x1b[2J"
    try:
        raise ValueError(forged)
    except ValueError as error:
        record = logging.makeLogRecord({"msg": forged, "exc_info": (ValueError, error, None)})
    first, *trace = Lines("plain", ids=True).format(record).split("\n")
    assert "forged" in first
    assert all(line.startswith("    ") for line in trace)
    assert all(char.isprintable() for line in (first, *trace) for char in line)


def test_routes_are_told_by_their_patterns() -> None:
    routes = Routes(["/v1/feed", "/v1/items/{item_id:str}", "/v1/items/{item_id}/similar"])
    paths = ["/v1/feed", "/v1/items/a", "/v1/items/a/similar", "/v1/items/a/b", "/"]
    assert [routes.of(path) for path in paths] == [
        "/v1/feed", "/v1/items/{item_id:str}", "/v1/items/{item_id}/similar", "unknown", "unknown",
    ]  # fmt: skip
