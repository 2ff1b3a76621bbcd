"""Declared features: what they ask of the state, what they refuse, and what their names are."""

import msgspec
import pytest

from features.columns import Category, Column, Cosine, Count, Feature, InContext, Rate, Recency, Taste
from features.errors import FeatureError
from features.layout import ACTION_CODE, half_life_ms
from features.schema import FeatureSet
from features.standard import standard


def test_a_rate_keeps_its_two_counts_of_the_entity_and_of_the_kind() -> None:
    layout = FeatureSet((Rate("author", "like", per="click", half_life="1h"),)).layout
    wanted = {(ACTION_CODE["like"], 0), (ACTION_CODE["click"], 0)}
    assert wanted <= set(layout.slots[2].counters)
    assert wanted <= set(layout.slots[6].counters)
    assert layout.half_lives_ms == (3_600_000, 7 * 86_400_000)  # the latter of what newcomers are judged by


def test_attributes_become_columns_of_the_state() -> None:
    layout = FeatureSet((Category("item.music"), Column("item.width"), Column("user.fans"))).layout
    assert layout.item_categories[-1] == "music"
    assert layout.item_numbers[-1] == "width"
    assert layout.user_numbers == ("fans",)


def test_a_feature_set_survives_json_with_its_fingerprint() -> None:
    before = standard({"music": str}, {"fans": float})
    after = msgspec.json.decode(msgspec.json.encode(before), type=FeatureSet)
    assert after == before
    assert after.fingerprint == before.fingerprint
    assert after.layout.fingerprint == before.layout.fingerprint


def test_order_of_columns_changes_the_fingerprint_but_not_the_layout() -> None:
    a, b = Count("item", "like"), Count("user", "click")
    one, other = FeatureSet((a, b)), FeatureSet((b, a))
    assert one.fingerprint != other.fingerprint
    assert one.layout == other.layout


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (Rate("itm", "like"), "Did you mean 'item'?"),
        (Rate("item", "likes"), "Did you mean 'like'?"),
        (Count("user", "order", "1w"), "half-life"),
        (Count("user", "order", "0d"), "half-life"),
        (Recency("user*authors", "watch"), "Did you mean 'user*author'?"),
        (InContext("hours"), "Did you mean 'hour'?"),
        (Column("price"), "unknown entity 'price'"),
        (Column("item."), "names no field"),
        (Cosine("user.factors", "item.factor"), "Did you mean 'item.factors'?"),
        (Rate("item", "like", prior=0.0), "prior"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_known(column: Feature, said: str) -> None:
    with pytest.raises(FeatureError, match=said.replace("*", r"\*").replace("?", r"\?")):
        FeatureSet((column,))


def test_two_columns_of_one_name_are_refused() -> None:
    with pytest.raises(FeatureError, match="Two columns"):
        FeatureSet((Count("item", "like"), Count("item", "like")))
    with pytest.raises(FeatureError, match="no columns"):
        FeatureSet(())


def test_tastes_of_two_half_lives_are_refused() -> None:
    with pytest.raises(FeatureError, match="counted over 28d and 7d"):
        FeatureSet((Taste("7d"), Taste("28d")))


def test_half_lives_are_written_as_people_write_them() -> None:
    assert [half_life_ms(text) for text in ("30s", "10m", "1h", "7d")] == [30_000, 600_000, 3_600_000, 604_800_000]
