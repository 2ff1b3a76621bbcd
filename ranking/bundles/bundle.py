"""A bundle: all that training learned, as an immutable folder that is refused whole when a byte of it is not right.

Its version is a hash of what was learned alone, so that two runs with one seed give the same version.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np

from features.errors import BundleError, FeatureError
from features.factors import NAMED, Factors, Tastes
from features.ids import Ids
from features.logs.log import sync_folder
from features.reader import Codes
from features.schema import FeatureSet
from features.types import DoubleArray, FloatArray
from ranking.bundles.calibration import Calibrator
from ranking.bundles.matrices import Piece, from_npy, to_npy
from ranking.bundles.model_text import check_model
from ranking.value import Weights, scales

T = TypeVar("T")

FORMAT, READ = 2, (1, 2)
"""What is written, and what is read. 2: items' vectors keep their lengths; those of format 1 are directions."""
TASTE_NAMES = "tastes/names.json"
MATRICES = ("items", "authors", "categories", "words")
GIVEN = "factors/given.npy"
"""What embeddings that come with items say, where any did."""


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is known of a head beside its trees.

    window_ms is how long after the impression its outcome counts; base_rates (4,) by code of kind, 0 where a kind
    does not have the head; calibrators by code of kind, for the kinds that have it.
    """

    window_ms: int
    base_rates: tuple[float, float, float, float]
    calibrators: dict[int, Calibrator]


class Trained(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a bundle was trained on: records before ``end``, received from ``since_ms`` to before ``until_ms``."""

    since_ms: int
    until_ms: int
    end: int
    seed: int


class Names(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The names of the rows of the factors, and whether those are directions."""

    items: tuple[str, ...]
    authors: tuple[str, ...]
    categories: tuple[str, ...]
    directions: bool = False


class TasteNames(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The names of the rows of tastes: of items and their parts, and of each column that has vectors."""

    items: tuple[str, ...]
    authors: tuple[str, ...]
    categories: tuple[str, ...]
    named: dict[str, tuple[str, ...]]


class Formatted(msgspec.Struct, frozen=True):
    """All that the first page of a bundle has in any format."""

    format: int


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first page of a bundle; ``sha256`` names every file that belongs to what was learned.

    ``digest`` is over all else that it says, as what was learned has a hash that times and packages are not in; empty
    in one that was written before there was any, which is taken at its word.
    """

    format: int
    version: str
    fingerprint: str
    trained: Trained
    packages: dict[str, str]
    sha256: dict[str, str]
    digest: str = ""

    def sealed(self) -> "Manifest":
        """The same with its digest."""
        rest = msgspec.json.encode(msgspec.structs.replace(self, digest=""), order="sorted")
        return msgspec.structs.replace(self, digest=hashlib.sha256(rest).hexdigest())


@dataclass(frozen=True)
class Bundle:
    """What training learned.

    Parameters
    ----------
    feature_set, codes, factors
        What a ``features.reader.Reader`` reads with.
    bins : tuple of tuple of float
        The cuts of each column, ascending, that all heads share; none for a column of codes.
    models : dict of str to str
        LightGBM's text by head.
    heads : dict of str to Head
        In the same order.
    weights : Weights
        What the value weighs heads with, served where the policy has no weights of its own; judged by in its report.
    trained : Trained
    format : int
        How it is written down.
    """

    feature_set: FeatureSet
    codes: Codes
    factors: Factors
    bins: tuple[tuple[float, ...], ...]
    models: dict[str, str]
    heads: dict[str, Head]
    weights: Weights
    trained: Trained
    format: int = FORMAT

    @cached_property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits over all that makes a feature row mean what it means."""
        parts = (self.feature_set, self.codes, self.bins, self.factors.version)
        return hashlib.sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()[:12]

    @cached_property
    def sha256(self) -> dict[str, str]:
        """The hash of every file of what was learned, as the manifest has it."""
        return {name: _digest(pieces) for name, pieces in self._parts()}

    @cached_property
    def version(self) -> str:
        """Twelve hexadecimal digits over all that was learned."""
        return version_of(self.sha256)

    def base_rates_of(self, heads: tuple[str, ...]) -> DoubleArray:
        """π (H, 4) by head and code of kind; 0 where a kind does not have the head."""
        return np.array([self.heads[head].base_rates for head in heads], np.float64).reshape(-1, 4)

    def scales_of(self, heads: tuple[str, ...]) -> DoubleArray:
        """``1/√(π(1−π))`` (H, 4), see ``ranking.value.scales``."""
        return scales(self.base_rates_of(heads))

    def files(self) -> dict[str, bytes]:
        """Every file of what was learned, by its path in the folder."""
        return {path: b"".join(pieces) for path, pieces in self._parts()}

    def _parts(self) -> Iterator[tuple[str, list[Piece]]]:
        """The same, one after the other and in pieces: a matrix is not copied."""
        factors = self.factors
        # Format 1 has nothing but directions, and no word for them.
        directions = factors.directions and self.format > 1
        names = Names(factors.item_names, factors.author_ids, factors.category_ids, directions)
        structured = {
            "features.json": self.feature_set,
            "codes.json": self.codes,
            "bins.json": self.bins,
            "heads.json": self.heads,
            "weights.json": self.weights,
            "factors/names.json": names,
        }
        for path, part in structured.items():
            yield path, [msgspec.json.encode(part)]
        for head, text in self.models.items():
            yield f"heads/{head}.txt", [text.encode()]
        for name in MATRICES:
            yield f"factors/{name}.npy", to_npy(getattr(factors, name))
        if factors.given is not None:
            yield GIVEN, to_npy(factors.given)
        if factors.tastes:
            yield from _taste_parts(factors.tastes)


def _taste_parts(tastes: Tastes) -> Iterator[tuple[str, list[Piece]]]:
    """Every file of tastes, by its path."""
    of_items = tastes.of_items
    names = TasteNames(of_items.item_names, of_items.author_ids, of_items.category_ids, tastes.names)
    yield TASTE_NAMES, [msgspec.json.encode(names)]
    for name in MATRICES:
        yield f"tastes/{name}.npy", to_npy(getattr(of_items, name))
    for column in NAMED:
        yield f"tastes/of_{column}.npy", to_npy(tastes.vectors[column])
    yield "tastes/precision.npy", to_npy(tastes.precision[None])


def _tastes(place: Path, names: "TasteNames") -> Tastes:
    def matrix(name: str) -> FloatArray:
        return from_npy(place / f"tastes/{name}.npy")

    items, authors, categories, words = (matrix(name) for name in MATRICES)
    of_items = Factors(
        Ids(names.items), items, names.authors, authors, names.categories, categories, words, carts=False
    )
    return Tastes(of_items, names.named, {column: matrix(f"of_{column}") for column in NAMED}, matrix("precision")[0])


def _digest(pieces: Iterable[Piece]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def version_of(sha256: dict[str, str]) -> str:
    """The version of a bundle by the hashes of its files."""
    return hashlib.sha256(json.dumps(sha256, sort_keys=True).encode()).hexdigest()[:12]


def factors_of(sha256: dict[str, str]) -> str:
    """What tells a bundle's factors from others, by the hashes of its files: twelve hexadecimal digits."""
    return version_of({path: digest for path, digest in sha256.items() if path.startswith("factors/")})


def save(bundle: Bundle, folder: Path, packages: dict[str, str]) -> Path:
    """Write a bundle under the folder of bundles, whole or not at all; its path there.

    One of the same version is kept as it is: it holds the same.
    """
    place = folder / bundle.version
    if place.exists():
        load(place)
        return place
    folder.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=folder))
    try:
        files = bundle.files()
        sha256 = {path: hashlib.sha256(part).hexdigest() for path, part in files.items()}
        manifest = Manifest(bundle.format, bundle.version, bundle.fingerprint, bundle.trained, packages, sha256)
        page = msgspec.json.format(msgspec.json.encode(manifest.sealed()))
        for path, part in {**files, "manifest.json": page}.items():
            write(draft / path, part)
        draft.chmod(0o755)
        _put(draft, place)
    except BaseException:
        shutil.rmtree(draft)
        raise
    sync_folder(folder)
    return place


def _put(draft: Path, place: Path) -> None:
    """Give a bundle its name; where another training was faster, its own, which is the same, stays."""
    try:
        draft.rename(place)
    except OSError:
        if not place.exists():
            raise
        load(place)
        shutil.rmtree(draft)


def write(path: Path, part: bytes) -> None:
    """Write a file so that it survives a power cut."""
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as file:
        file.write(part)
        file.flush()
        os.fsync(file.fileno())
    sync_folder(path.parent)


def load(place: Path) -> Bundle:
    """Read a bundle and verify all of it.

    Raises
    ------
    BundleError
        If a file is missing or not as it was written, the format is unknown, its parts do not fit each other, or the
        folder is not named by its version.
    """
    manifest = read_manifest(place)
    for path, expected in manifest.sha256.items():
        if _digest([read_part(place, path)]) != expected:
            raise BundleError(f"{place / path} is not as it was written.", "Restore the bundle or train it anew.")
    if version_of(manifest.sha256) != manifest.version:
        raise BundleError(f"{place} does not hold version {manifest.version}.", "Restore the bundle or train it anew.")
    bundle = _assembled(place, manifest)
    if bundle.fingerprint != manifest.fingerprint or bundle.version != manifest.version:
        raise BundleError(f"The parts of {place} are of different bundles.", "Restore the bundle or train it anew.")
    if place.absolute().name != bundle.version:
        raise BundleError(f"{place} holds version {bundle.version}.", f"Rename it to {bundle.version}.")
    return bundle


def read_manifest(place: Path) -> Manifest:
    """The first page of a bundle, its files unread."""
    text = read_part(place, "manifest.json")
    # The format first: the page of another one may hold what this one does not know.
    found = decoded(text, Formatted, place / "manifest.json").format
    if found not in READ:
        what = f"{place} is of format {found}, not {' or '.join(map(str, READ))}."
        raise BundleError(what, "Train it anew, or upgrade." if found > FORMAT else "Train it anew.")
    manifest = decoded(text, Manifest, place / "manifest.json")
    if manifest.digest not in ("", manifest.sealed().digest):
        what = f"{place / 'manifest.json'} is not as it was written."
        raise BundleError(what, "Restore the bundle or train it anew.")
    return manifest


def _assembled(place: Path, manifest: Manifest) -> Bundle:
    def part(path: str, form: type[T]) -> T:
        if path not in manifest.sha256:
            raise BundleError(f"{place} has no {path}.", "Restore the bundle or train it anew.")
        return decoded(read_part(place, path), form, place / path)

    names, heads = part("factors/names.json", Names), part("heads.json", dict[str, Head])
    matrices = [from_npy(place / f"factors/{name}.npy") for name in MATRICES]
    feature_set = part("features.json", FeatureSet)
    models = {head: read_part(place, f"heads/{head}.txt").decode() for head in heads}
    for head, text in models.items():
        check_model(head, text, feature_set, place)
    try:
        factors = Factors(
            item_ids=Ids(names.items),
            items=matrices[0],
            author_ids=names.authors,
            authors=matrices[1],
            category_ids=names.categories,
            categories=matrices[2],
            words=matrices[3],
            directions=names.directions or manifest.format == 1,
            tastes=_tastes(place, part(TASTE_NAMES, TasteNames)) if TASTE_NAMES in manifest.sha256 else None,
            given=from_npy(place / GIVEN) if GIVEN in manifest.sha256 else None,
        )
    except FeatureError as error:
        raise BundleError(f"The parts of {place} do not fit each other: {error.what}", error.way_out) from error
    return Bundle(
        feature_set=feature_set,
        codes=part("codes.json", Codes),
        factors=factors,
        bins=part("bins.json", tuple[tuple[float, ...], ...]),
        models=models,
        heads=heads,
        weights=part("weights.json", Weights),
        trained=manifest.trained,
        format=manifest.format,
    )


def read_part(place: Path, path: str) -> bytes:
    """A file of a folder, by its path there."""
    try:
        return (place / path).read_bytes()
    except OSError as error:
        raise BundleError(f"{place / path} cannot be read: {error}.", "Restore the bundle or train it anew.") from error


def decoded(text: bytes, form: type[T], path: Path) -> T:
    """What a file says, by the type that it should have."""
    try:
        return msgspec.json.decode(text, type=form)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise BundleError(f"{path} cannot be read: {error}.", "Restore the bundle or train it anew.") from error
