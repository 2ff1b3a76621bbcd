"""The light first stage: many candidates, looked at by few trees, the best scored in full."""

from pathlib import Path

import pytest

from features.errors import PolicyError
from features.records import Action, Control, Event
from ranking import Engine, Feed, FeedRequest, RankRequest
from ranking.policy import parse
from tests.small_home import NOW

TREES = 20
"""Of each head of the small home."""
FREE = "[surfaces.feed]\nbounds = []\n"


def light(home: Path, trees: int, keep: int, rest: str = FREE) -> None:
    text = f"page_most = 5\n[light]\ntrees = {trees}\nkeep = {keep}\n{rest}"
    (home / "policy.toml").write_text(text, "utf-8")


def page(engine: Engine, name: str = "r", surface: str = "feed") -> Feed:
    return engine.feed(FeedRequest(user_id="u1", count=5, surface=surface), NOW, name)


def pages(home: Path, trees: int, keep: int, rest: str = FREE) -> Feed:
    light(home, trees, keep, rest)
    with Engine.open(home, writer=False) as engine:
        return page(engine)


def test_it_is_off_where_candidates_are_few(home: Path) -> None:
    assert "light" not in pages(home, 1, 40).dropped
    assert pages(home, 1, 39).dropped["light"] > 0


def test_it_says_how_many_it_cut(home: Path) -> None:
    dropped = pages(home, TREES, 30).dropped
    assert dropped == {"light": 10}


def test_by_all_trees_it_keeps_the_best(home: Path) -> None:
    assert pages(home, TREES, 8).items == pages(home, TREES, 40).items


def test_by_few_trees_what_it_keeps_has_its_full_value(home: Path) -> None:
    light(home, 2, 8)
    with Engine.open(home, writer=False) as engine:
        feed = page(engine)
        names = tuple(item.item_id for item in feed.items)
        ranked = engine.rank(RankRequest(item_ids=names, user_id="u1"), NOW, "again")
        assert [item.value for item in feed.items] == [item.value for item in ranked.items]


def test_two_engines_cut_alike(home: Path) -> None:
    assert pages(home, 3, 8) == pages(home, 3, 8)


def test_no_bound_gives_way_for_the_cut(home: Path) -> None:
    bounds = [f'{{ of = "{kind}", at_most = 2, window = 5 }}' for kind in ("room", "product", "video")]
    rest = f"[surfaces.feed]\nbounds = [{', '.join(bounds)}]\n"
    feed = pages(home, 1, 5, rest)
    assert feed.dropped["light"] > 0
    assert feed.relaxed == ()
    assert len({item.kind for item in feed.items}) == 3


def test_legal_rules_hold(home: Path) -> None:
    light(home, 2, 8)
    with Engine.open(home) as engine:
        best = page(engine).items[0]
        gone = [Event(f"end{n}", NOW, f"i{n}", Action.ROOM_END) for n in range(0, 40, 8)]
        engine.append([*gone, Control("u1", NOW, "hide_item", best.item_id)], NOW)
        feed = page(engine, "later")
        assert feed.dropped["light"] > 0
        assert not {item.item_id for item in feed.items} & {best.item_id, *(f"i{n}" for n in range(0, 40, 8))}


def test_given_items_are_all_ranked(home: Path) -> None:
    light(home, 1, 5)
    with Engine.open(home, writer=False) as engine:
        asked = RankRequest(item_ids=tuple(f"i{n}" for n in range(40)), user_id="u1")
        assert len(engine.rank(asked, NOW, "r").items) == 40


def test_a_page_is_no_longer_than_the_policy_says(home: Path) -> None:
    light(home, 20, 40)
    with Engine.open(home, writer=False) as engine:
        assert len(engine.feed(FeedRequest(count=50), NOW, "r").items) == 5


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[light]\ntrees = 0", "light.trees"),
        ("[light]\nkeep = 0", "light.keep"),
        ("[light]\nkeep = 199", "light.keep = 199 is below page_most = 200"),
        ("[light]\ntree = 3", "light"),
        ("light = 3", "[light]"),
    ],
)
def test_a_mistake_names_its_key(text: str, key: str) -> None:
    with pytest.raises(PolicyError) as error:
        parse(text)
    assert key in str(error.value)
