"""A second bundle scores beside the one that is served, and answers nobody."""

import time
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from features.errors import BundleError
from features.records import Action, Event, Item, Kind
from huozhao.show_bundles import agreement_view
from ranking.agreement import Agreement, Difference
from ranking.api import FeedRequest
from ranking.engine import Engine
from ranking.value import Weights
from serving import Settings, serve
from serving.shadow import Shadow, kept
from tests.serving.test_promotion import WIDER
from tests.small_home import NOW, bundle


def pages(engine: Engine, shadow: Shadow, name: str, count: int = 3) -> list[bytes]:
    found = []
    for number in range(count):
        done = shadow.agreement().pages + 1
        found.append(msgspec.json.encode(engine.feed(FeedRequest(user_id="u1"), NOW, f"{name}-{number}").items))
        # One at a time is compared: a second that comes meanwhile would be dropped.
        while shadow.agreement().pages < done:
            time.sleep(0.005)
    return found


def test_a_bundle_beside_itself_agrees_and_changes_no_page(home: Path) -> None:
    with Engine.open(home) as engine:
        alone = [msgspec.json.encode(engine.feed(FeedRequest(user_id="u1"), NOW, f"a-{n}").items) for n in range(3)]
        shadow = Shadow(engine, replace(bundle(), weights=Weights(complete=5.0)), 1.0)
        shadow.start()
        assert pages(engine, shadow, "a") == alone
        engine.append([Item("new", NOW, Kind.VIDEO, title="new", author_id="a1", live_from_ms=NOW)], NOW)
        engine.append([Event("like", NOW, "new", Action.LIKE, "u1")], NOW)
        pages(engine, shadow, "b")
        shadow.stop()
        found = engine.status(NOW).shadow
    assert found is not None
    assert (found.pages, found.failed, found.overlap, found.rank_correlation) == (6, 0, 1.0, 1.0)
    assert {head: (one.mean, one.mean_abs) for head, one in found.heads.items()} == {
        "like": (0.0, 0.0),
        "complete": (0.0, 0.0),
    }
    assert kept(home) == found


def test_a_bundle_that_expects_other_things_is_told_apart(home: Path) -> None:
    one = bundle()
    flatter = {
        kind: msgspec.structs.replace(c, probabilities=tuple(p / 2 + 0.1 for p in c.probabilities)) if kind == 3 else c
        for kind, c in one.heads["like"].calibrators.items()
    }
    second = replace(one, heads={**one.heads, "like": msgspec.structs.replace(one.heads["like"], calibrators=flatter)})
    with Engine.open(home) as engine:
        engine.append([Event(f"e{n}", NOW, f"i{n}", Action.LIKE, "u1") for n in range(9)], NOW)
        shadow = Shadow(engine, second, 1.0)
        shadow.start()
        pages(engine, shadow, "a")
        shadow.stop()
        found = engine.status(NOW).shadow
    assert found is not None
    assert found.heads["complete"].mean_abs == 0.0
    assert found.heads["like"].mean_abs > 0.01
    assert -1.0 <= found.rank_correlation < 1.0
    assert found.overlap < 1.0


def test_a_share_of_none_takes_none_and_a_promotion_ends_it(home: Path) -> None:
    with Engine.open(home) as engine:
        shadow = Shadow(engine, bundle(), 0.0)
        shadow.start()
        engine.feed(FeedRequest(user_id="u1"), NOW, "a")
        shadow.stop()
        found = engine.status(NOW).shadow
        assert found is not None
        assert (found.pages, found.dropped) == (0, 0)
        assert engine.generation.followers == []
        second = Shadow(engine, bundle(), 1.0)
        second.start()
        followers = engine.generation.followers
        assert len(followers) == 1
        before = engine.generation.bundle
        engine.take_up(replace(bundle(), weights=Weights(complete=9.0)), lambda: NOW)
        # Turned back before any page was compared: what came meanwhile was told to the one that served then.
        engine.take_up(before, lambda: NOW)
        engine.feed(FeedRequest(user_id="u1"), NOW, "b")
        second.stop()
        assert second.agreement().pages == second.agreement().failed == 0
        assert followers == engine.generation.followers == []


def test_a_bundle_of_another_layout_cannot_be_beside(home: Path) -> None:
    with Engine.open(home) as engine, pytest.raises(BundleError, match="counts other things"):
        Shadow(engine, bundle(WIDER), 1.0)


def test_a_server_whose_shadow_is_not_there_does_not_start_and_lets_go_of_its_home(home: Path) -> None:
    with pytest.raises(BundleError, match="has no 'nothing'"):
        serve(Settings(home=str(home), port=0, shadow="nothing"), lambda _address: None, lambda: NOW)
    Engine.open(home).close()


def test_what_was_found_is_told_in_words() -> None:
    heads = {"like": Difference(mean=-0.01, mean_abs=0.02)}
    found = Agreement(bundle="b2", beside="b1", pages=1200, dropped=3, overlap=0.9, rank_correlation=0.75, heads=heads)
    console = Console(record=True, width=200)
    console.print(agreement_view(found))
    said = console.export_text()
    assert "In the shadow of b1: 1,200 pages, 3 dropped, 0 failed." in said
    assert "0.900 of the first ten are the same, rank correlation 0.750." in said
    assert "like: -0.01000 on average, 0.02000 apart" in said
