"""Which bundle of a folder is the current one: a file that is turned whole."""

import os
import threading
from pathlib import Path

import msgspec

from features.errors import BundleError
from features.logs.log import sync_folder
from ranking.bundles.bundle import decoded, load, read_part, write

WAY_OUT = "Name a bundle with `huozhao promote VERSION`; `huozhao models` lists them."


class Pointer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which bundle is served."""

    version: str


def current(folder: Path) -> Path:
    """The path of the bundle that is served, among the bundles of a folder.

    Raises
    ------
    BundleError
        If none was promoted yet, or the file that says which cannot be read.
    """
    if not (folder / "current.json").exists():
        raise BundleError(f"{folder} has no current bundle.", "Train one with `huozhao train`.")
    try:
        return folder / decoded(read_part(folder, "current.json"), Pointer, folder / "current.json").version
    except BundleError as error:
        raise BundleError(error.what, WAY_OUT) from error


def fault_of(folder: Path) -> str:
    """Why the pointer names no bundle that is there; "" where it names one, or none was promoted yet."""
    if not (folder / "current.json").exists():
        return ""
    try:
        place = current(folder)
    except BundleError as error:
        return error.what
    return (
        ""
        if (place / "manifest.json").exists()
        else f"{folder / 'current.json'} names {place.name}, which is not there."
    )


def promote(folder: Path, version: str) -> None:
    """Make a bundle the current one, after it was read and verified."""
    load(folder / version)
    turn(folder, version)


def turn(folder: Path, version: str) -> None:
    """Point at a bundle that is known to be whole: readers see the one before or this one, nothing between."""
    # Of several that are promoted at once each is whole, and one is the last.
    draft = folder / f".current.{os.getpid()}-{threading.get_ident()}.draft"
    write(draft, msgspec.json.encode(Pointer(version)))
    draft.rename(folder / "current.json")
    sync_folder(folder)
