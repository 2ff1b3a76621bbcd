"""Bundles of the format before: served as they were, written anew on request, refused when damaged."""

import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest

from features.errors import BundleError
from features.records import Item, Kind
from huozhao.cli import main
from ranking.bundles.attached import attach, read_attached
from ranking.bundles.bundle import FORMAT, READ, load, read_manifest
from ranking.bundles.pointer import promote
from ranking.bundles.ranker import BundleRanker
from ranking.bundles.versions import migrate, versions_of

GOLDEN = Path(__file__).parent / "golden" / "bundle-1"
"""Written by the last program of format 1."""
ITEMS = (
    Item("i1", 0, Kind.VIDEO, title="x", author_id="a1"),
    Item("new", 0, Kind.VIDEO, title="好货 1", author_id="a1", category="c"),
    Item("other", 0, Kind.VIDEO, title="茶", author_id="b"),
)
VECTORS = np.array([[-0.89684445, -0.44234604], [0.8944272, 0.4472136], [0, 0]], np.float32)
"""What that program read them as."""
ROWS = np.array([[1, 1, np.nan], [4, 0, 0.5]], np.float32)
KINDS = np.array([1, 3], np.uint8)


@pytest.fixture
def bundles(home: Path) -> Path:
    shutil.copytree(GOLDEN, home / "bundles" / "008b80b36cd7")
    return home / "bundles"


def test_a_bundle_of_the_format_before_is_read_as_it_was_and_keeps_its_version(bundles: Path) -> None:
    loaded = load(bundles / "008b80b36cd7")
    assert (loaded.format, loaded.version) == (1, "008b80b36cd7")
    assert READ == (1, FORMAT)
    assert np.abs(loaded.factors.vectors_of(ITEMS) - VECTORS).max() < 1e-6
    low, high = BundleRanker(loaded).probabilities(ROWS, KINDS).ravel()
    assert 0.2 <= low < high <= 0.7
    promote(bundles, loaded.version)


def test_migrated_it_says_the_same_in_todays_format_and_the_old_one_stays(bundles: Path) -> None:
    old = load(bundles / "008b80b36cd7")
    attach(bundles / old.version, {"reference.json": b"{}"})
    before = set(versions_of(bundles))
    assert main(["migrate", "008b", "--home", str(bundles.parent)]) == 0
    (name,) = set(versions_of(bundles)) - before
    new = load(bundles / name)
    assert read_manifest(bundles / name).format == new.format == FORMAT
    assert new.factors.vectors_of(ITEMS).tobytes() == old.factors.vectors_of(ITEMS).tobytes()
    assert (BundleRanker(new).probabilities(ROWS, KINDS) == BundleRanker(old).probabilities(ROWS, KINDS)).all()
    assert read_attached(bundles / name, "reference.json") == b"{}"
    assert load(bundles / old.version).version == old.version
    assert migrate(bundles, name).name == name


def test_a_damaged_or_foreign_one_is_refused_whole(bundles: Path) -> None:
    place = bundles / "008b80b36cd7"
    whole = (place / "factors" / "items.npy").read_bytes()
    (place / "factors" / "items.npy").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(BundleError, match=r"items\.npy is not as it was written"):
        load(place)
    (place / "factors" / "items.npy").write_bytes(whole)
    manifest = msgspec.json.decode((place / "manifest.json").read_bytes())
    for claimed in (0, 3):
        (place / "manifest.json").write_bytes(msgspec.json.encode(manifest | {"format": claimed}))
        with pytest.raises(BundleError, match=f"format {claimed}, not 1 or 2"):
            load(place)
