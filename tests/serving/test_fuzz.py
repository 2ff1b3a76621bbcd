"""Whatever is asked of a server, it answers as the contract says: schemathesis asks what it allows and what not."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree
from socket import create_server
from typing import Any

import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.core.result import Ok

from ranking.engine import Engine
from serving import create_app
from serving.contract import document
from serving.http import ROUTES
from tests.small_home import NOW

Operation = APIOperation[Any, Any, Any, Any]
SCHEMA = schemathesis.openapi.from_dict(json.loads(json.dumps(document(ROUTES))))
ASKED: dict[str, Operation] = {
    found.ok().label: found.ok() for found in SCHEMA.get_all_operations() if isinstance(found, Ok)
}
CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
    "response_schema_conformance", "negative_data_rejection", "positive_data_acceptance", "missing_required_header",
    "unsupported_method", "allow_header_conformance",
)  # fmt: skip
EXAMPLES = 20
"""Requests of each kind for each operation; ten thousand are asked by ``python -m benchmarks fuzz``."""


@pytest.fixture(scope="module")
def address(small_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server on a socket, in a thread of this process."""
    home = copytree(small_home, tmp_path_factory.mktemp("fuzz") / "home")
    server = uvicorn.Server(uvicorn.Config(create_app(Engine.open(home), lambda: NOW), log_level="error"))
    bound = create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    yield f"http://127.0.0.1:{bound.getsockname()[1]}"
    server.should_exit = True
    thread.join()
    bound.close()


def whole(value: Any) -> Any:  # noqa: ANN401  # any JSON
    """A body with whole numbers written as such: to JSON Schema 1.0 is one as well, to the contract it is not."""
    match value:
        case float() if value.is_integer() and abs(value) < 2**53:
            return int(value)
        case dict():
            return {key: whole(one) for key, one in value.items()}
        case list():
            return [whole(one) for one in value]
        case _:
            return value


def ask(case: Case[Any], address: str) -> None:
    """Send a request and hold the answer to the contract; of a batch each record is judged by itself."""
    case.body = whole(case.body)
    answer = case.call(base_url=address, timeout=30)
    is_json = answer.headers["content-type"][0].startswith("application/json")
    batch = answer.status_code == 200 and is_json and "results" in answer.json()
    left_out = {"negative_data_rejection"} if batch else set()
    checks: list[Any] = [schemathesis.checks.CHECKS.get_one(name) for name in CHECKS if name not in left_out]
    case.validate_response(answer, checks=checks)
    if batch and case.meta and case.meta.generation.mode is GenerationMode.NEGATIVE:
        assert "rejected" in {one["status"] for one in answer.json()["results"]}


def asked(operation: Operation, mode: GenerationMode, address: str) -> int:
    """How many requests of a kind were sent, each answer held to the contract."""
    count = 0

    @settings(max_examples=EXAMPLES, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(operation.as_strategy(generation_mode=mode))
    def run(case: Case[Any]) -> None:
        nonlocal count
        ask(case, address)
        count += 1

    run()
    return count


@pytest.mark.parametrize("label", ASKED)
def test_what_the_contract_allows_is_answered_as_it_says(address: str, label: str) -> None:
    # What takes nothing but its name can be asked in one way.
    assert asked(ASKED[label], GenerationMode.POSITIVE, address) >= (EXAMPLES if ASKED[label].body else 1)


@pytest.mark.parametrize("label", [label for label, one in ASKED.items() if one.body or one.query])
def test_what_the_contract_does_not_allow_is_refused_as_it_says(address: str, label: str) -> None:
    assert asked(ASKED[label], GenerationMode.NEGATIVE, address) >= 1
