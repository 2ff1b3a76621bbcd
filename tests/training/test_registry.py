"""The registry: one pointer, one file of promotions that only grows, and a way back."""

import math
import shutil
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from features.errors import BundleError
from ranking.bundles.attached import attach, read_attached
from ranking.bundles.bundle import load, save
from ranking.bundles.versions import find
from ranking.value import Weights
from tests.small_home import bundle
from training import registry
from training.gate import Check, Verdict
from training.judging.compare import compare
from training.registry import FILE, current_version, models, promote, promotions, rollback


@pytest.fixture
def bundles(tmp_path: Path) -> Path:
    return tmp_path / "bundles"


def made(bundles: Path, number: int) -> str:
    """A bundle that differs from the others in a weight."""
    return save(replace(bundle(), weights=Weights(complete=4.0 + number)), bundles, {}).name


def test_rolling_back_undoes_one_promotion_after_the_other(bundles: Path) -> None:
    first, second, third = (made(bundles, number) for number in range(3))
    for at_ms, version in enumerate((first, second, third)):
        promote(bundles, version, at_ms, how="gate", reason="better")
    assert rollback(bundles, 3, "").version == second
    assert rollback(bundles, 4, "it was bad").version == first
    with pytest.raises(BundleError, match="served before"):
        rollback(bundles, 5, "")
    promote(bundles, third, 6, how="by hand", reason="")
    assert rollback(bundles, 7, "").version == first
    assert [entry.how for entry in promotions(bundles)] == ["gate"] * 3 + ["rollback"] * 2 + ["by hand", "rollback"]
    assert promotions(bundles)[4].reason == "it was bad"
    assert promotions(bundles)[4].previous == second


def test_a_promotion_in_place_of_one_that_was_not_written_down_can_be_undone(bundles: Path) -> None:
    from ranking.bundles.pointer import promote as turn

    old, new = made(bundles, 0), made(bundles, 1)
    turn(bundles, old)
    promote(bundles, new, 1, how="by hand", reason="")
    assert rollback(bundles, 2, "").version == old


def test_a_damaged_bundle_is_not_promoted_and_nothing_is_written_of_it(bundles: Path) -> None:
    good, bad = made(bundles, 0), made(bundles, 1)
    promote(bundles, good, 1, how="gate", reason="")
    (bundles / bad / "heads.json").write_bytes(b"{}")
    with pytest.raises(BundleError, match=r"heads\.json"):
        promote(bundles, bad, 2, how="by hand", reason="")
    assert current_version(bundles) == good
    assert len(promotions(bundles)) == 1
    listed = {one.version: one for one in models(bundles)}
    assert listed[good].current
    assert listed[good].promotion == promotions(bundles)[0]
    assert "heads.json" in listed[bad].fault


def test_a_line_that_was_torn_is_passed_over_and_mended_a_wrong_one_is_named(bundles: Path) -> None:
    first, second = made(bundles, 0), made(bundles, 1)
    promote(bundles, first, 1, how="gate", reason="")
    whole = (bundles / FILE).read_bytes()
    (bundles / FILE).write_bytes(whole + whole[:20])
    assert len(promotions(bundles)) == 1
    promote(bundles, second, 2, how="gate", reason="")
    assert (bundles / FILE).read_bytes().startswith(whole)
    assert [entry.version for entry in promotions(bundles)] == [first, second]
    (bundles / FILE).write_bytes(whole[:20] + b"\n" + whole)
    with pytest.raises(BundleError, match="Line 1 of"):
        promotions(bundles)


def test_a_promotion_whose_figures_were_written_undefined_is_read_and_undone(bundles: Path) -> None:
    first, second = made(bundles, 0), made(bundles, 1)
    undefined = Check("gauc", "click", 0.5, 0.5, 0.0, math.nan, math.nan, 100, 500, worse=False)
    promote(bundles, first, 1, how="gate", reason="")
    promote(bundles, second, 2, how="gate", reason="", verdict=Verdict(second, first, checks=(undefined,)))
    assert b'"low":null' in (bundles / FILE).read_bytes()
    assert math.isnan(promotions(bundles)[1].checks[0].low)
    assert rollback(bundles, 3, "").version == first


def test_a_version_is_found_by_its_first_digits_if_no_other_begins_so(bundles: Path) -> None:
    versions = [made(bundles, number) for number in range(3)]
    assert find(bundles, versions[0][:8]) == versions[0]
    for name in ("", "zz", "../bundles", "."):
        with pytest.raises(BundleError, match="has no"):
            find(bundles, name)
    shutil.copytree(bundles / versions[0], bundles / (versions[0][:8] + "0000"))
    with pytest.raises(BundleError, match="2 bundles"):
        find(bundles, versions[0][:8])
    with pytest.raises(BundleError, match="no current bundle"):
        find(bundles, "current")


def test_what_is_attached_is_read_again_replaced_and_refused_when_damaged(bundles: Path) -> None:
    place = bundles / made(bundles, 0)
    assert read_attached(place, "report.html") is None
    attach(place, {"report.html": b"one", "metrics.json": b"{}"})
    attach(place, {"report.html": b"two"})
    assert (read_attached(place, "report.html"), read_attached(place, "metrics.json")) == (b"two", b"{}")
    assert load(place).version == place.name
    (place / "report.html").write_bytes(b"three")
    with pytest.raises(BundleError, match=r"report\.html is not as it was written"):
        read_attached(place, "report.html")
    (place / "report.html").unlink()
    with pytest.raises(BundleError, match=r"report\.html cannot be read"):
        read_attached(place, "report.html")
    (place / "attached.json").write_bytes(b"[")
    with pytest.raises(BundleError, match=r"attached\.json"):
        read_attached(place, "report.html")


def test_a_bundle_of_another_format_is_refused_by_its_format_whatever_its_first_page_holds(bundles: Path) -> None:
    place = bundles / made(bundles, 0)
    manifest = msgspec.json.decode((place / "manifest.json").read_bytes())
    (place / "manifest.json").write_bytes(msgspec.json.encode(manifest | {"format": 9, "new": 1}))
    with pytest.raises(BundleError, match="format 9"):
        registry.promote(bundles, place.name, 1, how="gate", reason="")


def test_two_bundles_are_compared_by_what_differs() -> None:
    one = bundle()
    alone = {"like": one.models["like"]}
    other = replace(one, heads={"like": one.heads["like"]}, models=alone, weights=Weights(complete=5.0))
    changes = compare(one, other)
    assert changes.heads_gone == ("complete",)
    assert changes.weights == {"complete": (4.0, 5.0)}
    assert (changes.heads_added, changes.columns_added, changes.columns_gone, changes.trees) == ((), (), (), {})
