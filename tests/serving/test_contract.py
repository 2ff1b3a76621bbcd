"""The contract as a document: every operation is in it, whole, and what it shows is true."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from litestar.testing import TestClient

from ranking.engine import Engine
from serving import create_app
from serving.api import MEANINGS, Code
from serving.batch import MAX_RECORDS
from serving.contract import BY_QUERY, document, paths
from serving.errors import KINDS
from serving.hot import MAX_BODY_BYTES, scope_of
from serving.http import ROUTES
from serving.telemetry import Observed
from tests.small_home import NOW

ROOT = Path(__file__).parents[2]
DOCUMENT = document(ROUTES)
OPERATIONS: dict[str, tuple[str, str, dict[str, Any]]] = {
    operation["operationId"]: (method, path, operation)
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
}


@pytest.fixture
def client(home: Path) -> Iterator[TestClient[Observed]]:
    app = create_app(Engine.open(home), lambda: NOW, lambda: "page")
    with TestClient(app, raise_server_exceptions=False) as client:
        client.post("/v1/feed", json={"explain": True, "deadline_ms": 60_000})
        yield client


def fits(value: object, schema: dict[str, Any]) -> list[str]:
    """What of a value is not of a schema of the document."""
    whole = {**schema, "components": DOCUMENT["components"]}
    return [error.message for error in jsonschema_rs.Draft202012Validator(whole).iter_errors(value)]


def test_every_operation_is_documented_whole() -> None:
    assert len(OPERATIONS) == len(paths(ROUTES)) == 18
    tags = {tag["name"] for tag in DOCUMENT["tags"]}
    for method, path, operation in OPERATIONS.values():
        assert operation["summary"].endswith("."), path
        assert set(operation["tags"]) <= tags
        scope = scope_of(method.upper(), re.sub(r"{\w+}", "x", path))
        assert operation.get("security") == ([{"key": [scope]}, {}] if scope else None), path
        (answer,) = operation["responses"]["200"]["content"].values()
        assert all(fits(one["value"], answer["schema"]) == [] for one in answer["examples"].values())
        for parameter in operation["parameters"]:
            assert fits(parameter["example"], parameter["schema"]) == []
        if method in ("post", "put"):
            assert {"400", "413", "415"} <= set(operation["responses"])


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_request_that_the_contract_shows_is_taken_and_answered_as_it_says(
    client: TestClient[Observed], name: str
) -> None:
    method, path, operation = OPERATIONS[name]
    shown = {one["name"]: one["example"] for one in operation["parameters"]}
    query = {one["name"]: shown[one["name"]] for one in operation["parameters"] if one["in"] == "query"}
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    for body in [one["value"] for one in content["examples"].values()] if content else [None]:
        assert body is None or fits(body, content["schema"]) == []
        answer = client.request(method.upper(), path.format(**shown), params=query, json=body)
        assert answer.status_code == 200, answer.text
        ((media_type, told),) = operation["responses"]["200"]["content"].items()
        assert answer.headers["content-type"].startswith(media_type)
        said = answer.json() if media_type == "application/json" else answer.text
        assert fits(said, told["schema"]) == []
        assert {one["status"] for one in (said.get("results", []) if isinstance(said, dict) else [])} <= {"accepted"}


def test_every_code_has_one_meaning_and_the_page_of_the_api_lists_them_all() -> None:
    assert set(MEANINGS) == set(Code)
    assert set(KINDS.values()) <= set(Code)
    told = DOCUMENT["components"]["schemas"]["Code"]
    assert set(told["enum"]) == set(Code)
    assert all(f"`{code}`" in told["description"] for code in Code)
    rows = [f"| `{code}` | {of.status} | {of.means} | {of.way_out} |" for code, of in MEANINGS.items()]
    listed = [
        line
        for line in (ROOT / "docs" / "api.md").read_text("utf-8").splitlines()
        if re.match(r"\| `\w+` \| \d+ \|", line)
    ]
    assert listed == rows
    answered = {
        code
        for _, _, operation in OPERATIONS.values()
        for response in operation["responses"].values()
        for content in response["content"].values()
        for part in content["schema"].get("allOf", [])
        for code in part.get("properties", {}).get("code", {}).get("enum", [])
    }
    # Those of no operation: no route, no such method, and a record that the engine's own callers must mend.
    assert set(Code) - answered == {"not_found", "method_not_allowed", "record_invalid"}


def test_every_limit_is_in_the_document_and_on_the_page_of_the_api() -> None:
    page = (ROOT / "docs" / "api.md").read_text("utf-8")
    schemas = DOCUMENT["components"]["schemas"]
    limits = {
        "body": MAX_BODY_BYTES // 2**20,
        "records in a batch": MAX_RECORDS,
        "`count`": schemas["FeedRequest"]["properties"]["count"]["maximum"],
        "`item_ids` to rank": schemas["RankRequest"]["properties"]["item_ids"]["maxItems"],
        "`item_ids` of a page fetched earlier": schemas["AliveRequest"]["properties"]["item_ids"]["maxItems"],
        "`seen`": schemas["FeedRequest"]["properties"]["seen"]["maxItems"],
        "an id": schemas["Event"]["properties"]["item_id"]["maxLength"],
        "a title or text": schemas["Item"]["properties"]["title"]["maxLength"],
    }
    for what, most in limits.items():
        assert re.search(rf"^\| {re.escape(what)} \| {most:,}\b", page, re.MULTILINE), what
    assert f"{MAX_BODY_BYTES} bytes" in DOCUMENT["info"]["description"]
    batch = DOCUMENT["paths"]["/v1/events"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert (batch["minItems"], batch["maxItems"]) == (1, MAX_RECORDS)


def test_twins_by_path_and_by_query_are_the_same_operation() -> None:
    twins = [name for name in OPERATIONS if name.endswith(BY_QUERY)]
    assert len(twins) == 4
    for name in twins:
        in_query, in_path = OPERATIONS[name][2], OPERATIONS[name.removesuffix(BY_QUERY)][2]
        assert in_query["responses"] == in_path["responses"]
