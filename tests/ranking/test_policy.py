import tomllib
from pathlib import Path

import pytest

from features.errors import PolicyError
from features.records import Kind
from ranking.policy import DEFAULT_TOML, default, load, parse
from ranking.policy.lines import line_of
from ranking.policy.versions import find, history, keep
from ranking.policy.writing import as_toml, changes
from ranking.value import Weights


def test_a_home_without_a_policy_has_the_default_one(tmp_path: Path) -> None:
    assert load(tmp_path / "policy.toml") == default()


def test_the_default_text_is_the_default_policy(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text(DEFAULT_TOML, "utf-8")
    assert load(tmp_path / "policy.toml") == default() == parse("")
    assert default().weights is None
    told = DEFAULT_TOML.partition("# [weights]\n")[2].partition("\n\n")[0].replace("# ", "")
    assert parse(f"[weights]\n{told}").weights == Weights(**tomllib.loads(told))
    assert set(tomllib.loads(told)) == set(Weights.__struct_fields__)


def test_the_default_surfaces_show_what_their_names_say() -> None:
    policy = default()
    assert policy.surface("feed").kinds == tuple(Kind)
    assert policy.surface("plaza").kinds == (Kind.ROOM,)
    assert policy.surface("mall").kinds == (Kind.PRODUCT,)


def test_a_surface_without_rules_goes_by_those_of_feed() -> None:
    policy = parse("[surfaces.feed.weights]\norder = 2.0")
    assert policy.surface("tab3") == policy.surface("feed")
    assert policy.weights_for("tab3", Weights()).order == 2.0


def test_a_new_surface_says_only_how_it_differs_from_feed() -> None:
    policy = parse('[surfaces.tab1]\nkinds = ["video"]')
    assert policy.surface("tab1").kinds == (Kind.VIDEO,)
    assert policy.surface("tab1").bounds == policy.surface("feed").bounds
    assert policy.surface("mall").kinds == (Kind.PRODUCT,)


def test_a_surface_replaces_weights_for_itself_alone() -> None:
    policy = parse("[weights]\ncart = 0.5\n[surfaces.mall.weights]\norder = 8.0")
    assert policy.weights_for("mall", LEARNED).order == 8.0
    assert policy.weights_for("feed", LEARNED).order == 0.0
    assert policy.weights_for("feed", LEARNED).cart == 0.5


LEARNED = Weights(complete=100.0, like=99.0, comment=98.0, share=97.0, gift=5.0)


def test_weights_are_those_learned_with_unless_the_policy_says_some() -> None:
    assert default().weights_for("feed", LEARNED) == LEARNED
    assert default().weights_for("tab3", LEARNED) == LEARNED
    assert default().weights_for("mall", LEARNED) == LEARNED.with_changes({"click": 1.0, "cart": 2.0, "order": 4.0})
    assert parse("[weights]").weights_for("feed", LEARNED) == Weights()
    assert parse("[weights]\ngift = 1.0").weights_for("feed", LEARNED) == Weights(gift=1.0)
    # One of those that have an order would not fit every bundle: it is said among the default ones.
    assert parse("[surfaces.feed.weights]\nlike = 3.5").weights_for("feed", LEARNED) == Weights(like=3.5)


def test_weights_that_are_written_are_another_policy_than_none_and_read_as_written() -> None:
    for policy in (default(), parse("[weights]")):
        assert parse(as_toml(policy)) == policy
        assert parse(as_toml(policy)).version == policy.version
    assert parse("[weights]").version != default().version
    assert ("weights.like", "", "3.0") in changes(default(), parse("[weights]"))


def test_durations_are_milliseconds() -> None:
    policy = parse('room_ttl = "90s"\n[suppress]\nbought = "2h"')
    assert (policy.room_ttl_ms, policy.suppress.windows_ms[2]) == (90_000, 7_200_000)


def test_the_version_follows_the_values_and_not_their_writing() -> None:
    known = default().version
    assert parse("# nothing").version == known
    assert parse("page_most = 200\ncandidates = 300").version == parse("candidates = 300\npage_most = 200").version
    assert parse("candidates = 301").version != known
    assert len(known) == 12


WRITTEN = """\
# a policy
sources = [
  "live",  # rooms first
  'videos',
]
"candidates" = 200

[weights]
like = 3.5
[surfaces.feed]
kinds = [ "room", "video" ]
bounds = [
  { of = "author", at_most = 1, window = 4 },

  { of = "room", at_most = 6,
    window = 10 }, # the second
]
[surfaces.feed . weights]
note = \"\"\"
[not.a.table]
\"\"\"
order = 1.0
[[rules]]
name = "first"
[[rules]]
name = "second"
kinds = ["room"]
"""


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("sources", 2),
        ("sources[1]", 4),
        ("candidates", 6),
        ("weights", 8),
        ("weights.like", 9),
        ("weights.share", 8),
        ("surfaces.feed.kinds[1]", 11),
        ("surfaces.feed.bounds[0].of", 13),
        ("surfaces.feed.bounds[1]", 15),
        ("surfaces.feed.bounds[1].window", 16),
        ("surfaces.feed.weights.order", 22),
        ("not.a.table", 0),
        ("rules[0].name", 24),
        ("rules[1].name", 26),
        ("rules[1].kinds[0]", 27),
        ("rules[1].until", 25),
        ("nowhere", 0),
    ],
)
def test_a_key_is_found_where_it_is_written(key: str, line: int) -> None:
    assert line_of(WRITTEN, key) == line


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("\n\n[weights]\nlike = 5.0\n", "policy.toml: line 4: weights.like"),
        ("[weights]\n\nlke = 1.0", "policy.toml: line 3: weights.lke"),
        ("page_most = 9\nroom_ttl = 3", "policy.toml: line 2: room_ttl"),
        ("[surfaces.mall]\n[surfaces.mall.weights]\nlike = 9.0", "policy.toml: line 3: surfaces.mall: weights.like"),
        (
            "[surfaces.feed]\nbounds = [\n {of = 'room', at_most = 0, window = 1}]",
            "policy.toml: line 3: surfaces.feed.b",
        ),
        ("[weights]\nlike = 0.5", "policy.toml: line 1: weights.comment"),
    ],
)
def test_a_mistake_is_told_with_its_line(text: str, where: str, tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text(text, "utf-8")
    with pytest.raises(PolicyError) as error:
        load(tmp_path / "policy.toml")
    assert error.value.what.startswith(where)


@pytest.mark.parametrize(
    ("text", "key", "way_out"),
    [
        ('room_tll = "3m"', "room_tll", "Did you mean 'room_ttl'?"),
        ("room_ttl = 3", "room_ttl", "shows every key"),
        ('room_ttl = "3 minutes"', "room_ttl", '"30m"'),
        ('[suppress]\nseen = "0m"', "suppress.seen", '"30m"'),
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
        ("room_ttl = ", "TOML", "Mend its end"),
        ("[commerce]\nsurfaces = ['fed']", "line 2: commerce.surfaces: there is no surface 'fed'", "feed, plaza, mall"),
        ("[[rules]]\nname = 'r'\nkinds = ['room']\nsurfaces = ['tab']", "line 4: rules[0].surfaces", "[surfaces.tab]"),
        ("[fees]\ntable = [{shop = 'third', fee = 0.1}]", "fees.table[0].shop", "'third_party'"),
        ("[[rules]]\nname = 'r'\nkinds = ['live']", "rules[0].kinds[0]", "Give product or room or video."),
        (
            "[surfaces.feed]\nbounds = [{of = 'room', at_most = 1, window = 'week'}]",
            "bounds[0].window",
            "a whole number or day",
        ),
        ("[[rules]]\nname = 'r'\nkinds = ['room']\nfrom = 2020-10-09", "rules[0].from", "2020-10-09T00:00:00+08:00"),
        ("room_ttl = = 3", "line 1, column 12", "Mend that line"),
        ("candidates = " + "9" * 5000, "cannot be read", "Shorten"),
        ("candidates = " + "[" * 5000, "cannot be read", "Shorten"),
        ("[weights]\ncomplete = 1e308\nlike = 1e307", "line 2: weights.complete", "at most 1,000,000"),
        ("[surfaces.mall.weights]\norder = 1e300", "line 2: surfaces.mall: weights.order", "at most 1,000,000"),
        ("\n[surfaces.'']\n", "line 2: surfaces.: its name has 0 char", "1 to 64"),
        (f"[surfaces.{'x' * 65}]", "line 1: surfaces.xxx", "1 to 64"),
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


def test_a_byte_order_mark_is_passed_over_and_counts_for_no_line(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text("candidates = 7\npage_most = 201", "utf-8-sig")
    with pytest.raises(PolicyError, match="line 2: page_most"):
        load(tmp_path / "policy.toml")


AUTUMN = Path(__file__).parents[2] / "docs" / "examples" / "autumn-2020.toml"


@pytest.mark.parametrize("text", ["", AUTUMN.read_text("utf-8"), '[surfaces."t 1"]\nkinds = ["room"]'])
def test_a_policy_written_out_reads_as_itself(text: str) -> None:
    policy = parse(text)
    assert parse(as_toml(policy)) == policy
    assert parse(as_toml(policy)).version == policy.version


def test_two_policies_are_compared_by_key() -> None:
    other = parse(AUTUMN.read_text("utf-8") + '[rerank]\nmethod = "dpp"')
    found = {key: (old, new) for key, old, new in changes(parse(AUTUMN.read_text("utf-8")), other)}
    assert found == {"rerank.method": ('"none"', '"dpp"')}
    assert changes(other, other) == []
    keys = {key for key, _, _ in changes(default(), other)}
    assert "rules[marketplace task].from" in keys
    assert "fees.weight" in keys


def test_kept_versions_are_found_by_their_first_digits_and_told_from_changed_ones(tmp_path: Path) -> None:
    one, two = parse("candidates = 200"), parse("candidates = 201")
    assert [keep(tmp_path, policy, at) for at, policy in enumerate((one, one, two, one))] == [True, False, True, True]
    assert [(entry.version, entry.since_ms) for entry in history(tmp_path)] == [
        (one.version, 0), (two.version, 2), (one.version, 3),
    ]  # fmt: skip
    assert find(tmp_path, two.version[:5]) == two
    for name in ("zzzz", "", "../x"):
        with pytest.raises(PolicyError):
            find(tmp_path, name)
    (tmp_path / f"{two.version}.toml").write_text("candidates = 7")
    with pytest.raises(PolicyError, match="reads as version"):
        find(tmp_path, two.version)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('[[rules]]\nname = "x"\nkinds = ["room"]\nfrom = 2020-10-09', "line 4: rules[0].from"),
        ('[[rules]]\nname = "x"\nkinds = ["room"]\nuntil = 2020-10-09T00:00:00', "line 4: rules[0].until"),
        ('[[rules]]\nname = "x"\nkinds = ["rom"]', "line 3: rules[0].kinds[0]"),
        ('[[rules]]\nname = "x"\nkinds = ["room"]\n[[rules]]\nname = "x"\nkinds = ["room"]', "line 5: rules[1].name"),
        ('\n[[boosts]]\nname = "x"\nterm = 1.0\nbudget = 5', "line 2: boosts[0]"),
        ("[fees]\nweight = 1.0\ntable = [\n{ shop = 'own', fee = 2.0 }]", "line 4: fees.table[0].fee"),
        (
            '[[quality]]\nrate = "refund"\nof = "item"\ndemote_from = 0.5\nblock_from = 0.4',
            "line 5: quality[0].block_from",
        ),
        (
            '[surfaces.feed]\nbounds = [{of = "author", at_most = 1, window = "day"}]',
            "line 2: surfaces.feed.bounds[0].window",
        ),
        (
            '[[boosts]]\nname = "x"\nterm = 1.0\nbudget = 5\nitems = ["i"]\n'
            "from = 2020-10-09T00:00:00Z\nuntil = 2020-10-08T00:00:00Z",
            "line 7: boosts[0].until: it ends",
        ),
        ("[terms]\nown_shop = 5.0", "line 2: terms.own_shop"),
        (
            "[surfaces.feed]\nbounds = [\n{of = 'author', at_most = 4, window = 4}]",
            "line 3: surfaces.feed.bounds[0].at_most",
        ),
    ],
)
def test_a_mistake_in_a_dated_or_listed_table_is_told_with_its_place(text: str, key: str) -> None:
    with pytest.raises(PolicyError) as error:
        parse(text)
    assert error.value.what.startswith(key)
