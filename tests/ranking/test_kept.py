"""Trained lists on disk: begun from where they fit, passed over where they do not, never a wrong answer."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from features.types import FloatArray, IntArray
from ranking.bundles.bundle import FORMAT, Manifest, Trained, factors_of
from ranking.index.exact import ExactIndex
from ranking.index.kept import Kept, ListsWarning
from ranking.index.listed import ListedIndex
from ranking.index.lists import Fitted, Placed

DIMS, COUNT = 8, 3000
GOLDEN = Path(__file__).parent / "golden"


def _vectors() -> FloatArray:
    vectors = np.random.default_rng(0).standard_normal((COUNT, DIMS)).astype(np.float32)
    unit: FloatArray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def _index(kept: Kept | None, vectors: FloatArray, probes: float | None = None) -> ListedIndex:
    index = ListedIndex(DIMS, 1000, probes, background=True, kept=kept)
    index.put(np.arange(COUNT, dtype=np.int32), vectors)
    index.start()
    index.wait()
    return index


def _answers(index: ListedIndex | ExactIndex, queries: FloatArray) -> list[list[int]]:
    return [index.search(query, 20)[0].tolist() for query in queries]


def _placed(index: ListedIndex) -> IntArray:
    assert index.lists is not None
    exact = ExactIndex(DIMS)
    exact.put(np.arange(COUNT, dtype=np.int32), _vectors())
    return index.lists.fitted(exact).placed.lists.astype(np.int64)


def test_a_second_start_answers_as_the_first(tmp_path: Path) -> None:
    vectors, kept = _vectors(), Kept(tmp_path / "index", "a", "product")
    first = _index(kept, vectors)
    (written,) = (tmp_path / "index").iterdir()
    second = _index(kept, vectors)
    assert list((tmp_path / "index").iterdir()) == [written]
    assert _answers(second, vectors[:50]) == _answers(first, vectors[:50])
    assert (_placed(second) == _placed(first)).all()


def test_vectors_that_changed_since_are_filed_where_they_belong_now(tmp_path: Path) -> None:
    vectors, kept = _vectors(), Kept(tmp_path, "a", "product")
    _index(kept, vectors)
    moved = vectors.copy()
    moved[::2] = -vectors[::2]
    index = _index(kept, moved, probes=0.02)
    # Each is found in the one list nearest to itself.
    assert [index.search(vector, 1)[0][0] for vector in moved[:100]] == list(range(100))


@pytest.mark.parametrize("file", ["lists.npz", "meta.json"])
@pytest.mark.parametrize("at", [0, -30])
def test_damaged_lists_are_trained_anew_with_a_warning(tmp_path: Path, file: str, at: int) -> None:
    vectors, kept = _vectors(), Kept(tmp_path, "a", "product")
    before = _answers(_index(kept, vectors), vectors[:50])
    (place,) = tmp_path.iterdir()
    damaged = bytearray((place / file).read_bytes())
    damaged[at] ^= 0xFF
    (place / file).write_bytes(damaged)
    with pytest.warns(ListsWarning, match="trained anew"):
        index = _index(kept, vectors)
    assert _answers(index, vectors[:50]) == before
    assert kept.load(DIMS) is not None


def test_lists_that_do_not_fit_are_passed_over(tmp_path: Path) -> None:
    kept, rows = Kept(tmp_path, "a", "product"), np.arange(3, dtype=np.int32)
    kept.save(Fitted(np.ones((2, DIMS), np.float32), np.ones(2 * DIMS + 1, np.float32), 1, 3, Placed(rows, rows, rows)))
    with pytest.warns(ListsWarning, match="do not fit"):
        assert kept.load(DIMS) is None
    assert Kept(tmp_path, "b", "product").load(DIMS) is None


def _fitted() -> Fitted:
    rows = np.arange(3, dtype=np.int32)
    placed = Placed(rows, np.zeros(3, np.int32), rows)
    return Fitted(np.ones((2, DIMS), np.float32), np.ones(2 * DIMS + 1, np.float32), 1, 3, placed)


def test_lists_go_when_no_bundle_has_their_factors_any_more(tmp_path: Path) -> None:
    bundles, folder = tmp_path / "bundles", tmp_path / "index"
    trained = Trained(0, 1, 0, 0)
    for name in ("one", "two"):
        sha256 = {"factors/items.npy": name, "heads/like.txt": "other"}
        text = msgspec.json.encode(Manifest(FORMAT, name, "", trained, {}, sha256))
        (bundles / name).mkdir(parents=True)
        (bundles / name / "manifest.json").write_bytes(text)
    first, second = (factors_of({"factors/items.npy": name}) for name in ("one", "two"))
    kinds = ("product", "video")
    for factors in (first, second, "gone"):
        for kind in kinds:
            Kept(folder, factors, kind).save(_fitted())
    (folder / ".draft-other").mkdir()
    Kept(folder, first, "product", bundles=bundles).save(_fitted())

    def left() -> set[tuple[str, str]]:
        return {(place.name.split("-")[0], place.name.split("-")[1]) for place in folder.glob("[!.]*")}

    assert left() == {(factors, kind) for factors in (first, second) for kind in kinds}
    assert (folder / ".draft-other").exists()
    (bundles / "two" / "manifest.json").write_text("{}")
    Kept(folder, "new", "product", bundles=bundles).save(_fitted())
    assert {factors for factors, _ in left()} == {first, second, "new"}
    (bundles / "two" / "manifest.json").unlink()
    Kept(folder, "new", "product", bundles=bundles).save(_fitted())
    assert {factors for factors, _ in left()} == {first, "new"}


def test_a_reader_keeps_nothing(tmp_path: Path) -> None:
    _index(Kept(tmp_path / "index", "a", "product", writes=False), _vectors())
    assert not (tmp_path / "index").exists()


def test_lists_of_the_first_format_are_refused_by_its_number() -> None:
    with pytest.warns(ListsWarning, match="is of format 1, not 2"):
        assert Kept(GOLDEN, "lists", "1").load(2) is None
