"""Which bundle of a folder is the current one: a file that is turned whole."""

from pathlib import Path

import msgspec

from features.errors import BundleError
from features.logs.log import sync_folder
from ranking.bundles.bundle import decoded, load, read_part, write


class Pointer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which bundle is served."""

    version: str


def current(folder: Path) -> Path:
    """The path of the bundle that is served, among the bundles of a folder.

    Raises
    ------
    BundleError
        If none was promoted yet.
    """
    if not (folder / "current.json").exists():
        raise BundleError(f"{folder} has no current bundle.", "Train one with `huozhao train`.")
    return folder / decoded(read_part(folder, "current.json"), Pointer, folder / "current.json").version


def promote(folder: Path, version: str) -> None:
    """Make a bundle the current one, after it was read and verified."""
    load(folder / version)
    turn(folder, version)


def turn(folder: Path, version: str) -> None:
    """Point at a bundle that is known to be whole: readers see the one before or this one, nothing between."""
    draft = folder / ".current.draft"
    write(draft, msgspec.json.encode(Pointer(version)))
    draft.rename(folder / "current.json")
    sync_folder(folder)
