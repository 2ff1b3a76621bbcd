"""Whose weights a page is ordered by: those a bundle was trained for, unless the policy has some of its own."""

from dataclasses import replace
from pathlib import Path

import pytest

from ranking import Engine, FeedRequest
from ranking.api import Feed
from ranking.bundles.bundle import Bundle, save
from ranking.bundles.pointer import promote
from ranking.policy.versions import keep
from ranking.replay.re_decide import re_decide
from ranking.value import Weights
from tests.small_home import NOW, bundle

LEARNED = Weights(complete=100.0, like=99.0, comment=98.0, share=97.0)


@pytest.fixture
def trained(home: Path) -> Bundle:
    """The bundle of the home, trained for weights of its own."""
    made = replace(bundle(), weights=LEARNED)
    promote(home / "bundles", save(made, home / "bundles", {}).name)
    return made


def served(home: Path) -> Feed:
    with Engine.open(home, decisions=1.0) as engine:
        feed = engine.feed(FeedRequest(user_id="u1", count=8), NOW, "r")
        keep(home / "policies", engine.generation.policy, NOW)
    return feed


def weight_of_both(bundle: Bundle, feed: Feed) -> float:
    """What the first item's value weighs its like and its completion with, which are equally probable."""
    first = feed.items[0]
    scale = bundle.scales_of(("like",))[0, 3]
    return first.value / first.heads["like"] / float(scale)


@pytest.mark.parametrize(
    ("policy", "weight"),
    [
        (None, 199.0),
        ("candidates = 200", 199.0),
        ("[weights]\nlike = 3.5", 7.5),
        ("[surfaces.feed.weights]\nlike = 3.5", 7.5),
        ("[surfaces.feed.weights]\ngift = 1.0", 199.0),
    ],
)
def test_the_bundles_weights_are_served_where_the_policy_has_none(
    home: Path, trained: Bundle, policy: str | None, weight: float
) -> None:
    if policy is not None:
        (home / "policy.toml").write_text(policy, "utf-8")
    feed = served(home)
    assert weight_of_both(trained, feed) == pytest.approx(weight)
    # What was used is told by the versions of bundle and policy: it comes out the same, whatever is written since.
    (home / "policy.toml").write_text("[weights]\nlike = 3.9", "utf-8")
    account = re_decide(home, feed.request_id)
    assert (account.verdict, account.bundle, account.policy) == ("equal", trained.version, feed.policy)
    assert [one.value for one in account.candidates[: len(feed.items)]] == [item.value for item in feed.items]
