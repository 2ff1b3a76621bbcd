"""Why a page was as it was, asked of a server that goes on serving: what it answered comes out again bit for bit."""

import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
import pytest
from litestar.testing import TestClient

from features.logs.log import DAY_MS
from huozhao.cli import main
from ranking import Engine
from ranking.api import Feed
from ranking.bundles.pointer import current
from ranking.replay.account import Account
from ranking.replay.re_decide import Reach, re_decide
from serving import create_app, decisions
from serving.telemetry import Observed
from tests.serving.conftest import served
from tests.serving.test_parity import under_load
from tests.small_home import NOW

Client = TestClient[Observed]


@pytest.fixture
def client(home: Path) -> Iterator[Client]:
    numbers = iter(range(1_000_000))
    app = create_app(Engine.open(home, decisions=0.0), lambda: NOW, lambda: f"r{next(numbers)}")
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def account(client: Client | httpx.Client, page: str, **asked: str) -> Account:
    answer = client.get(f"/v1/feeds/{page}", params=asked)
    assert answer.status_code == 200, answer.text
    return msgspec.json.decode(answer.content, type=Account)


def problem(client: Client, path: str, **asked: str) -> tuple[int, str, str]:
    answer = client.get(path, params=asked)
    found = answer.json()
    return answer.status_code, found["code"], found["detail"]


def page(client: Client, **asked: object) -> Feed:
    answer = client.post("/v1/feed", json={"user_id": "u1", "count": 8} | asked)
    return msgspec.json.decode(answer.content, type=Feed)


def test_pages_answered_under_load_come_out_again_while_it_goes_on_and_after_a_kill(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pages: list[Feed] = []
    with served(home) as (process, address), httpx.Client(base_url=address, timeout=60) as client:
        load = threading.Thread(target=under_load, args=(address, 30, pages))
        load.start()
        asked = 0
        while load.is_alive():
            if len(pages) > asked:
                assert account(client, pages[asked].request_id).verdict == "equal"
                asked += 10
            load.join(0.05)
        assert asked
        # Asking writes down what waits; a page of the last moment would go with the process.
        assert account(client, pages[-1].request_id).verdict == "equal"
        process.kill()
        process.wait()
    dropped = set()
    for one in pages[::7]:
        assert main(["why", one.request_id, "--home", str(home), "--json"]) == 0
        found = msgspec.json.decode(capsys.readouterr().out, type=Account)
        assert (found.verdict, found.notes, found.dropped, found.relaxed) == ("equal", (), one.dropped, one.relaxed)
        told = [one for one in found.candidates if one.slot is not None]
        assert [(item.item_id, item.value, item.terms, item.heads, item.features) for item in told] == [
            (item.item_id, item.value, item.terms, item.heads, item.features) for item in one.items
        ]
        dropped |= {one.dropped for one in found.candidates}
    assert len(dropped) > 2


def test_a_page_is_found_right_after_it_was_answered(client: Client) -> None:
    answered = page(client, explain=True)
    found = account(client, answered.request_id, bundle="current")
    assert found.verdict == "equal"
    assert found.page == tuple(item.item_id for item in answered.items)
    assert found.other is not None
    assert {one.slot[0] == one.slot[1] for one in found.other.changes} == {True}
    plain = account(client, page(client).request_id)
    assert (plain.sampled, plain.verdict) == (False, "unknown")


def test_what_cannot_be_answered_is_a_problem_with_the_way_out(client: Client, home: Path) -> None:
    answered = page(client, explain=True)
    status, code, detail = problem(client, "/v1/feeds/nobody's")
    assert (status, code) == (404, "not_available")
    assert "far=true" in detail
    assert problem(client, "/v1/feeds/nobody's", far="true")[:2] == (404, "not_available")
    assert problem(client, "/v1/feeds", page="")[:2] == (400, "invalid_request")
    assert problem(client, "/v1/feeds")[:2] == (400, "invalid_request")
    for name in ("gone", "../bundles/" + current(home / "bundles").name, ".."):
        assert problem(client, f"/v1/feeds/{answered.request_id}", bundle=name)[:2] == (404, "not_available")


def test_what_lies_far_back_is_computed_only_where_it_is_asked_for(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = page(client, explain=True)
    monkeypatch.setattr(decisions, "NEAR", Reach(archived=False, records=5))
    status, code, detail = problem(client, f"/v1/feeds/{answered.request_id}")
    assert (status, code) == (422, "moment_far")
    assert "far=true" in detail
    assert account(client, answered.request_id, far="true").verdict == "equal"


def test_one_page_is_looked_into_at_a_time(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    answered = page(client, explain=True)
    begun, go_on = threading.Event(), threading.Event()
    really = re_decide

    def slowly(home: Path, request_id: str, bundle: str = "", *, reach: Reach) -> Account:
        begun.set()
        assert go_on.wait(60)
        return really(home, request_id, bundle, reach=reach)

    monkeypatch.setattr(decisions, "re_decide", slowly)
    verdicts: list[str] = []
    first = threading.Thread(target=lambda: verdicts.append(account(client, answered.request_id).verdict))
    first.start()
    assert begun.wait(60)
    busy = client.get(f"/v1/feeds/{answered.request_id}")
    assert (busy.status_code, busy.json()["code"]) == (429, "busy")
    assert int(busy.headers["retry-after"]) > 0
    assert page(client).items
    go_on.set()
    first.join()
    assert verdicts == ["equal"]


def test_the_command_tells_the_page_and_what_another_bundle_would_change(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Engine.open(home, decisions=1.0) as engine:
        app = create_app(engine, lambda: NOW, lambda: "r")
        with TestClient(app) as client:
            answered = page(client)
    assert main(["why", "r", "--home", str(home), "--bundle", "current", "--all"]) == 0
    printed = capsys.readouterr().out
    assert "comes out again as it was served" in printed
    assert f"{len(answered.items)} stays" in printed
    assert all(item.title in printed for item in answered.items)
    assert main(["why", "nobody's", "--home", str(home)]) == 2
    assert "No page" in capsys.readouterr().err
    shutil.rmtree(home / "bundles" / answered.bundle)
    assert main(["why", "r", "--home", str(home), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"] == "unknown"
    assert answered.bundle in found["notes"][0]


def test_a_page_of_an_archived_day_is_found_by_who_asks_for_it(home: Path) -> None:
    times = {"now": NOW}
    numbers = iter(range(1_000_000))
    app = create_app(engine := Engine.open(home, decisions=1.0), lambda: times["now"], lambda: f"r{next(numbers)}")
    with TestClient(app, raise_server_exceptions=False) as client:
        answered = page(client)
        times["now"] += DAY_MS
        assert page(client).request_id != answered.request_id
        engine.flush()
        # The server may have moved the day by itself already.
        engine.archive(times["now"])
        assert account(client, answered.request_id, far="true").verdict == "equal"
