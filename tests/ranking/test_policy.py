import tomllib
from pathlib import Path

import pytest

from features.errors import PolicyError
from features.records import Kind
from ranking.policy import DEFAULT_TOML, Policy, load, parse
from ranking.value import Weights


def test_a_home_without_a_policy_has_the_default_one(tmp_path: Path) -> None:
    assert load(tmp_path / "policy.toml") == Policy.default()


def test_the_default_text_is_the_default_policy(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text(DEFAULT_TOML, "utf-8")
    assert load(tmp_path / "policy.toml") == Policy.default() == parse("")
    assert Policy.default().weights == Weights()
    assert set(tomllib.loads(DEFAULT_TOML)["weights"]) == set(Weights.__struct_fields__)


def test_the_default_surfaces_show_what_their_names_say() -> None:
    policy = Policy.default()
    assert policy.surface("feed").kinds == tuple(Kind)
    assert policy.surface("plaza").kinds == (Kind.ROOM,)
    assert policy.surface("mall").kinds == (Kind.PRODUCT,)


def test_a_surface_without_rules_goes_by_those_of_feed() -> None:
    policy = parse("[surfaces.feed.weights]\norder = 2.0")
    assert policy.surface("tab3") == policy.surface("feed")
    assert policy.weights_for("tab3").order == 2.0


def test_a_new_surface_says_only_how_it_differs_from_feed() -> None:
    policy = parse('[surfaces.tab1]\nkinds = ["video"]')
    assert policy.surface("tab1").kinds == (Kind.VIDEO,)
    assert policy.surface("tab1").bounds == policy.surface("feed").bounds
    assert policy.surface("mall").kinds == (Kind.PRODUCT,)


def test_a_surface_replaces_weights_for_itself_alone() -> None:
    policy = parse("[weights]\ncart = 0.5\n[surfaces.mall.weights]\norder = 8.0")
    assert policy.weights_for("mall").order == 8.0
    assert policy.weights_for("feed").order == 0.0
    assert policy.weights_for("feed").cart == 0.5


def test_durations_are_milliseconds() -> None:
    policy = parse('room_ttl = "90s"\nseen_window = "2h"')
    assert (policy.room_ttl_ms, policy.seen_window_ms) == (90_000, 7_200_000)


def test_the_version_follows_the_values_and_not_their_writing() -> None:
    default = Policy.default().version
    assert parse("# nothing").version == default
    assert parse("page_most = 200\ncandidates = 300").version == parse("candidates = 300\npage_most = 200").version
    assert parse("candidates = 301").version != default
    assert len(default) == 12


@pytest.mark.parametrize(
    ("text", "key", "way_out"),
    [
        ('room_tll = "3m"', "room_tll", "Did you mean 'room_ttl'?"),
        ("room_ttl = 3", "room_ttl", "shows every key"),
        ('room_ttl = "3 minutes"', "room_ttl", '"30m"'),
        ('seen_window = "0m"', "seen_window", '"30m"'),
        ("candidates = 0", "candidates", "shows every key"),
        ("page_most = 201", "page_most", "shows every key"),
        ('sources = ["live", "live"]', "sources", "once"),
        ('sources = ["trendng"]', "sources[0]", "Did you mean 'trending'?"),
        ('[rerank]\nmethod = "dp"', "rerank.method", "Did you mean 'dpp'?"),
        ("[rerank]\ntheta = 1.0", "rerank.theta", "shows every key"),
        ("[rerank]\nwindow = -1", "rerank.window", "shows every key"),
        ("[rerank]\ndepths = 5", "rerank", "Did you mean 'depth'?"),
        ("rerank = 3", "rerank", "[rerank]"),
        ("weights = 3", "weights", "[weights]"),
        ("surfaces = 3", "surfaces", "[surfaces]"),
        ("[weights]\nlke = 1.0", "lke", "Did you mean 'like'?"),
        ("[weights]\nlike = 5.0", "weights.like", "complete > like > comment > share > 0"),
        ("[weights]\nshare = 0.0", "weights.share", "complete > like > comment > share > 0"),
        ("[weights]\nhide = nan", "weights.hide", "0 or more"),
        ("[surfaces.mall.weights]\nlike = 9.0", "surfaces.mall: weights.like", "complete > like"),
        ("[surfaces.mall.weights]\nordr = 9.0", "surfaces.mall: weights.ordr", "Did you mean 'order'?"),
        ('[surfaces.mall]\nkind = ["room"]', "surfaces.mall", "Did you mean 'kinds'?"),
        ("[surfaces.mall]\nkinds = []", "surfaces.mall.kinds", "shows every key"),
        ('[surfaces.feed]\nbounds = [{of = "autor", at_most = 1, window = 2}]', "feed.bounds[0].of", "'author'"),
        ('[surfaces.feed]\nbounds = [{of = "author", at_most = 1}]', "surfaces.feed.bounds[0]", "shows every key"),
        ("room_ttl = ", "TOML", "Mend the line"),
    ],
)
def test_a_mistake_is_refused_by_file_and_key_with_a_way_out(text: str, key: str, way_out: str, tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text(text, "utf-8")
    with pytest.raises(PolicyError) as error:
        load(tmp_path / "policy.toml")
    assert error.value.what.startswith("policy.toml: ")
    assert key in error.value.what
    assert way_out in error.value.way_out


def test_a_policy_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(PolicyError, match="UTF-8"):
        load(tmp_path / "policy.toml")
