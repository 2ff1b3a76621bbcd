"""Bundles: written whole, read whole, refused whole."""

import hashlib
import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import lightgbm as lgb
import msgspec
import numpy as np
import pytest

from features.columns import Category, Column
from features.errors import BundleError
from features.factors import Factors
from features.grams import BUCKETS
from features.ids import Ids
from features.reader import Codes
from features.schema import FeatureSet
from ranking.bundles.attached import attach, read_attached
from ranking.bundles.bundle import Bundle, Head, Manifest, Trained, load, read_manifest, save, version_of
from ranking.bundles.calibration import Calibrator
from ranking.bundles.model_text import model_names
from ranking.bundles.pointer import current, promote
from ranking.bundles.ranker import BundleRanker
from ranking.value import Weights

FEATURES = FeatureSet((Column("item.price"), Category("item.category"), Column("user.a,b [c]")))
PACKAGES = {"numpy": "2"}


def grown(seed: int = 0, feature_set: FeatureSet = FEATURES) -> str:
    rng = np.random.default_rng(seed)
    features = rng.integers(0, 5, (400, len(feature_set.columns))).astype(np.float32)
    table = lgb.Dataset(features, features[:, 0] > 2, feature_name=model_names(feature_set))
    parameters = {"objective": "binary", "verbosity": -1, "num_threads": 1, "num_leaves": 4, "deterministic": True}
    return lgb.train(parameters, table, 3).model_to_string()


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    rng = np.random.default_rng(0)
    factors = Factors(
        item_ids=Ids(("i1", "i2")),
        items=rng.normal(size=(2, 4)).astype(np.float32),
        author_ids=("主播",),
        authors=rng.normal(size=(1, 4)).astype(np.float32),
        category_ids=(),
        categories=np.zeros((0, 4), np.float32),
        words=rng.normal(size=(BUCKETS, 4)).astype(np.float32),
        given=rng.normal(size=(3, 4)).astype(np.float32),
    )
    calibrator = Calibrator(0.4, (-1.0, 1.0), (0.2, 0.7))
    return Bundle(
        feature_set=FEATURES,
        codes=Codes({"item.category": ("美妆", "食品")}),
        factors=factors,
        bins=((0.5, 1.5), (), (2.5,)),
        models={"click": grown()},
        heads={"click": Head(3_600_000, (0.0, 0.4, 0.0, 0.3), {1: calibrator, 3: calibrator})},
        weights=Weights(),
        trained=Trained(1, 2, 3, 0),
    )


@pytest.fixture
def place(bundle: Bundle, tmp_path: Path) -> Path:
    return save(bundle, tmp_path / "bundles", PACKAGES)


def test_what_was_saved_is_what_is_loaded(bundle: Bundle, place: Path) -> None:
    loaded = load(place)
    assert place.name == loaded.version == bundle.version
    assert loaded.files() == bundle.files()
    assert loaded.fingerprint == bundle.fingerprint
    assert loaded.trained == bundle.trained
    rows = np.array([[3.0, 1.0, np.nan]], np.float32)
    kinds = np.array([1], np.uint8)
    assert BundleRanker(loaded).probabilities(rows, kinds) == BundleRanker(bundle).probabilities(rows, kinds)
    assert sorted(path.name for path in place.parent.iterdir()) == [bundle.version]


def test_the_version_is_of_what_was_learned_and_of_nothing_else(bundle: Bundle) -> None:
    assert replace(bundle, trained=Trained(5, 6, 7, 8)).version == bundle.version
    changes: list[Bundle] = [
        replace(bundle, models={"click": grown(1)}),
        replace(bundle, codes=Codes({"item.category": ("食品", "美妆")})),
        replace(bundle, bins=((0.5,), (), (2.5,))),
        replace(bundle, weights=Weights(complete=5.0)),
        replace(bundle, factors=replace(bundle.factors, items=-bundle.factors.items)),
        replace(bundle, factors=replace(bundle.factors, given=None)),
    ]
    assert len({bundle.version, *(changed.version for changed in changes)}) == len(changes) + 1


def test_saving_the_same_again_keeps_what_is_there(bundle: Bundle, place: Path) -> None:
    before = (place / "manifest.json").stat().st_mtime_ns
    assert save(bundle, place.parent, PACKAGES) == place
    assert (place / "manifest.json").stat().st_mtime_ns == before


def test_a_bundle_with_any_file_damaged_or_missing_is_refused_by_its_name(place: Path, tmp_path: Path) -> None:
    files = [path.relative_to(place) for path in place.rglob("*") if path.is_file()]
    assert len(files) == 13
    for number, name in enumerate(files):
        for damage in ("flip", "cut", "lose"):
            copy = tmp_path / f"{number}{damage}"
            shutil.copytree(place, copy)
            whole = (copy / name).read_bytes()
            if damage == "lose":
                (copy / name).unlink()
            else:
                flipped = bytes([whole[0] ^ 1]) + whole[1:]
                (copy / name).write_bytes(flipped if damage == "flip" else whole[: len(whole) // 2])
            with pytest.raises(BundleError, match=str(name)):
                load(copy)


def rewritten(place: Path, change: dict[str, object], file: str = "", text: bytes = b"") -> None:
    """Write a file anew and a manifest that fits it, but for ``change``."""
    manifest = msgspec.json.decode((place / "manifest.json").read_bytes(), type=Manifest)
    if file:
        (place / file).write_bytes(text)
        sha256 = manifest.sha256 | {file: hashlib.sha256(text).hexdigest()}
        manifest = msgspec.structs.replace(manifest, sha256=sha256, version=version_of(sha256))
    (place / "manifest.json").write_bytes(msgspec.json.encode(msgspec.structs.replace(manifest, **change).sealed()))


@pytest.mark.parametrize("change", [{"trained": Trained(1, 9, 3, 0)}, {"packages": {}}, {"digest": "0" * 64}])
def test_what_it_was_trained_on_and_with_is_kept_as_it_was_written(place: Path, change: dict[str, object]) -> None:
    manifest = read_manifest(place)
    (place / "manifest.json").write_bytes(msgspec.json.encode(msgspec.structs.replace(manifest, **change)))
    with pytest.raises(BundleError, match=r"manifest\.json is not as it was written"):
        load(place)
    # One of before there was a digest is taken at its word.
    (place / "manifest.json").write_bytes(msgspec.json.encode(msgspec.structs.replace(manifest, digest="")))
    assert load(place).trained == Trained(1, 2, 3, 0)


def test_a_folder_that_is_named_by_another_version_is_refused(place: Path) -> None:
    other = place.rename(place.with_name("0" * 12))
    with pytest.raises(BundleError, match=f"holds version {place.name}") as error:
        load(other)
    assert "Rename it" in error.value.way_out


def test_trainings_that_end_at_once_with_the_same_leave_one_bundle(bundle: Bundle, tmp_path: Path) -> None:
    at_once = threading.Barrier(4)

    def go(folder: Path) -> Path:
        at_once.wait()
        return save(bundle, folder, PACKAGES)

    with ThreadPoolExecutor(4) as pool:
        for turn in range(5):
            folder = tmp_path / str(turn)
            places = list(pool.map(go, [folder] * 4))
            assert {place.name for place in folder.iterdir()} == {bundle.version}
            assert {load(place).version for place in places} == {bundle.version}


def test_what_is_attached_at_once_is_all_listed(place: Path) -> None:
    names = [f"{n}.txt" for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: attach(place, {name: name.encode() * 1000, "same.txt": b"same"}), names))
    assert [read_attached(place, name) for name in names] == [name.encode() * 1000 for name in names]
    assert read_attached(place, "same.txt") == b"same"
    assert not [path.name for path in place.iterdir() if path.name.startswith(".")]


def test_an_unknown_format_is_refused(place: Path) -> None:
    rewritten(place, {"format": 3})
    with pytest.raises(BundleError, match="format 3"):
        load(place)


def test_a_manifest_that_claims_another_version_or_fingerprint_is_refused(place: Path) -> None:
    rewritten(place, {"version": "0" * 12})
    with pytest.raises(BundleError, match="version 000000000000"):
        load(place)
    rewritten(place, {"version": place.name, "fingerprint": "0" * 12})
    with pytest.raises(BundleError, match="different bundles"):
        load(place)


def test_a_model_of_other_columns_is_refused(place: Path) -> None:
    other = FeatureSet((Column("item.price"), Category("item.brand"), Column("user.a,b [c]")))
    rewritten(place, {}, "heads/click.txt", grown(0, other).encode())
    with pytest.raises(BundleError, match=r"'click' of .* not trained on the columns"):
        load(place)


@pytest.mark.parametrize("part", ["items", "authors", "categories"])
def test_names_that_are_not_those_of_the_rows_are_refused(place: Path, part: str) -> None:
    names = json.loads((place / "factors/names.json").read_bytes())
    names[part].append("one more")
    rewritten(place, {}, "factors/names.json", json.dumps(names, separators=(",", ":")).encode())
    with pytest.raises(BundleError, match=r"do not fit each other: .* names have a matrix"):
        load(place)


def test_a_pickle_in_place_of_a_matrix_is_refused(place: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "evil.npy", np.array([{}], dtype=object), allow_pickle=True)
    rewritten(place, {}, "factors/items.npy", (tmp_path / "evil.npy").read_bytes())
    with pytest.raises(BundleError, match=r"items\.npy cannot be read"):
        load(place)


def test_the_current_bundle_is_the_one_promoted_last(bundle: Bundle, place: Path) -> None:
    folder = place.parent
    with pytest.raises(BundleError, match="no current bundle"):
        current(folder)
    promote(folder, place.name)
    assert current(folder) == place
    second = save(replace(bundle, weights=Weights(complete=5.0)), folder, PACKAGES)
    promote(folder, second.name)
    assert current(folder) == second
    (second / "bins.json").write_bytes(b"[]")
    promote(folder, place.name)
    with pytest.raises(BundleError, match=r"bins\.json"):
        promote(folder, second.name)
    assert current(folder) == place


def test_a_kind_without_the_head_has_probability_0(bundle: Bundle) -> None:
    rows = np.full((4, 3), 3.0, np.float32)
    said = BundleRanker(bundle).probabilities(rows, np.array([0, 1, 2, 3], np.uint8))
    assert (said[[0, 2]] == 0).all()
    assert (said[[1, 3]] >= 0.2).all()
