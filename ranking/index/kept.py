"""Trained lists on disk, so that a start files vectors where they were instead of training anew.

Kept is what was learned, not the vectors. A folder appears whole or not at all, is never changed, and is only a
shortcut: a damaged one is passed over with a warning, and wrong places would cost recall, not right scores. Once new
lists are durable, those of factors that no bundle has any more go.
"""

import hashlib
import io
import shutil
import tempfile
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from features.errors import BundleError, HuozhaoWarning, SnapshotError
from features.logs.log import sync_folder
from ranking.bundles.bundle import factors_of, read_manifest, write
from ranking.index.lists import ANY, FARTHER, Fitted, Placed

FORMAT = 2
"""1 had ranges that the longest of all vectors set."""
ARRAYS = ("centroids", "ranges", "rows", "lists", "marks")


class ListsWarning(HuozhaoWarning):
    """Kept lists could not be used, and are trained anew; or new ones could not be kept, and answer all the same."""


class Meta(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is not an array; ``sha256`` is that of ``lists.npz``."""

    format: int
    visits: int
    size: int
    sha256: str
    farther: float = FARTHER
    most: int = ANY


@dataclass(frozen=True)
class Kept:
    """The lists of one kind and one set of factors in a home.

    Parameters
    ----------
    folder : Path
        Holds the lists of a home; made when something is kept.
    factors, kind : str
        What lists are of: those of others are not looked at.
    writes : bool
        Whether lists are kept here, or only read.
    bundles : Path, optional
        The folder of the bundles whose factors' lists stay; without it all stay.
    """

    folder: Path
    factors: str
    kind: str
    writes: bool = True
    bundles: Path | None = None

    def save(self, fitted: Fitted) -> None:
        """Keep lists durably, in place of earlier ones of the same factors and kind, and of those nobody needs."""
        if not self.writes:
            return
        placed, file = fitted.placed, io.BytesIO()
        arrays = (fitted.centroids, fitted.ranges, placed.rows, placed.lists, placed.marks)
        np.savez(file, allow_pickle=False, **dict(zip(ARRAYS, arrays, strict=True)))
        packed = file.getvalue()
        meta = Meta(FORMAT, fitted.visits, fitted.size, hashlib.sha256(packed).hexdigest(), fitted.farther, fitted.most)
        place = self.folder / f"{self.factors}-{self.kind}-{meta.sha256[:12]}"
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=self.folder))
        try:
            write(draft / "lists.npz", packed)
            write(draft / "meta.json", msgspec.json.format(msgspec.json.encode(meta)))
            draft.chmod(0o755)
            shutil.rmtree(place, ignore_errors=True)
            draft.rename(place)
        except BaseException:
            shutil.rmtree(draft)
            raise
        sync_folder(self.folder)
        for old in {*self._found(), *self._needless()} - {place}:
            # Another kind's training may be at it too. Who reads it meanwhile trains anew.
            shutil.rmtree(old, ignore_errors=True)

    def load(self, dims: int) -> Fitted | None:
        """What is kept for vectors of so many numbers; None where nothing is, or nothing whole.

        Warns
        -----
        ListsWarning
            For each that was passed over, saying why.
        """
        for place in self._found():
            try:
                return _read(place, dims)
            except SnapshotError as error:
                warnings.warn(f"Lists are trained anew: {error}", ListsWarning, stacklevel=2)
        return None

    def _found(self) -> list[Path]:
        return sorted(self.folder.glob(f"{self.factors}-{self.kind}-*"))

    def _needless(self) -> list[Path]:
        """The lists of factors that no bundle has; none where a bundle cannot be read, since it may need them."""
        if self.bundles is None:
            return []
        try:
            manifests = [read_manifest(place.parent) for place in self.bundles.glob("[!.]*/manifest.json")]
        except BundleError:
            return []
        needed = {self.factors, *(factors_of(manifest.sha256) for manifest in manifests)}
        # Nothing but lists: a draft may be another training's, and is a folder too.
        return [old for old in self.folder.glob("[!.]*-*-*") if old.name.split("-")[0] not in needed]


def _read(place: Path, dims: int) -> Fitted:
    try:
        meta = msgspec.json.decode((place / "meta.json").read_bytes(), type=Meta)
        packed = (place / "lists.npz").read_bytes()
        if meta.format != FORMAT:
            raise SnapshotError(f"{place} is of format {meta.format}, not {FORMAT}.", "Remove it.")
        if hashlib.sha256(packed).hexdigest() != meta.sha256:
            raise SnapshotError(f"{place} is not as it was written.", "Remove it.")
        with np.load(io.BytesIO(packed), allow_pickle=False) as file:
            centroids, ranges, rows, lists, marks = (file[name] for name in ARRAYS)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile, msgspec.DecodeError) as error:
        raise SnapshotError(f"{place} cannot be read: {error}.", "Remove it.") from error
    filed = Placed(rows, lists, marks)
    fitted = Fitted(centroids, ranges, max(1, meta.visits), meta.size, filed, meta.farther, meta.most)
    if not _fits(fitted, dims):
        raise SnapshotError(f"The arrays of {place} do not fit each other.", "Remove it.")
    return fitted


def _fits(fitted: Fitted, dims: int) -> bool:
    """Whether arrays fit each other and the vectors, and name lists that are there."""
    placed, count = fitted.placed, len(fitted.centroids)
    floats = (
        (fitted.centroids, (count, dims)),
        (fitted.ranges, (2 * dims + 1,)),
    )
    numbers = [(array, (len(placed.rows),)) for array in (placed.rows, placed.lists, placed.marks)]
    typed = all(array.dtype == np.float32 for array, _ in floats) and all(
        array.dtype == np.int32 for array, _ in numbers
    )
    shaped = all(array.shape == shape for array, shape in (*floats, *numbers))
    if not typed or not shaped or not count or not all(np.isfinite(array).all() for array, _ in floats):
        return False
    inside = (placed.lists >= 0) & (placed.lists < count) & (placed.rows >= 0)
    return bool(inside.all())
