"""The follow source: what those do whom a person engages with."""

from pathlib import Path

from features.layout import half_life_ms
from features.records import Action, Context, Control, Event, Item, Kind
from ranking import Engine, FeedRequest
from tests.small_home import NOW

RULE = 'room_ttl = "9d"\nsources = ["follow", "fresh"]\n'


def opened(home: Path) -> Engine:
    (home / "policy.toml").write_text(RULE, "utf-8")
    return Engine.open(home)


def found(engine: Engine, kind: int, user: str = "u1", k: int = 50) -> list[str]:
    generation = engine.generation
    query = generation.query("r", user, 20, Context("feed"), NOW)
    (source,) = (source for of, source in generation.recall.sources if of == kind and source.name == "follow")
    return [generation.state.items.name(row) for row in source.retrieve(query, k).tolist()]


def like(number: int, item: str, ts_ms: int = NOW) -> Event:
    return Event(f"l{number}", ts_ms, item, Action.LIKE, "u1")


def test_it_finds_what_engaged_authors_have_and_nothing_else_the_most_engaged_first(home: Path) -> None:
    with opened(home) as engine:
        assert found(engine, 3) == []
        engine.append([like(1, "i7"), like(2, "i7"), like(3, "i3")], NOW)
        videos = found(engine, 3)
        # Of author a7 are i7, i17, i27, i37, of a3 i3, i13, i23, i33; videos are those of 2 and 3 modulo 4.
        assert videos == ["i27", "i7", "i23", "i3"]
        assert found(engine, 3, k=1) == ["i27"]
        assert found(engine, 3, user="u2") == []
        page = engine.feed(FeedRequest(user_id="u1", count=40), NOW, "r")
        assert {item.item_id for item in page.items if item.source == "follow"} == {*videos, "i13", "i33", "i17", "i37"}


def test_a_room_is_found_while_it_is_on_air(home: Path) -> None:
    with opened(home) as engine:
        engine.append([like(1, "i4")], NOW)
        assert found(engine, 1) == ["i24", "i4"]
        engine.append([Event("end", NOW, "i24", Action.ROOM_END)], NOW)
        assert found(engine, 1) == ["i4"]
        new = Item("new", NOW, Kind.ROOM, author_id="a4", category="c")
        engine.append([new, Event("start", NOW, "new", Action.ROOM_START)], NOW)
        assert found(engine, 1) == ["new", "i4"]


def test_engagement_fades_and_personalisation_off_finds_nothing(home: Path) -> None:
    with opened(home) as engine:
        old = NOW - half_life_ms("6d")
        engine.append([like(1, "i7", old), like(2, "i3")], NOW)
        assert found(engine, 3)[:2] == ["i23", "i3"]
        engine.append([Control("u1", NOW, "personalisation_off")], NOW)
        assert found(engine, 3) == []
