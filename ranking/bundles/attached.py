"""What stands beside a bundle without being part of it: its report, its figures, what its features looked like.

A bundle's hash is of what was learned alone; these files are listed with hashes of their own in ``attached.json``,
which may be written anew, while the bundle itself never changes.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from features.errors import BundleError
from ranking.bundles.bundle import write

LIST = "attached.json"
WAY_OUT = "Make it anew with `huozhao report --again`."


class Attached(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The files beside a bundle by their hashes."""

    sha256: dict[str, str]


def attach(place: Path, files: dict[str, bytes]) -> None:
    """Put files beside a bundle, each whole or not at all; one of the same name is replaced.

    Of several who do so at once, each waits for the other: none loses what the other has listed.
    """
    with _alone(place):
        listed = _listed(place)
        for name, part in files.items():
            _replace(place / name, part)
        sha256 = listed | {name: hashlib.sha256(part).hexdigest() for name, part in files.items()}
        _replace(place / LIST, msgspec.json.format(msgspec.json.encode(Attached(sha256))))


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Hold a folder against other threads and processes that would attach to it."""
    held = os.open(place, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def read_attached(place: Path, name: str) -> bytes | None:
    """The bytes of a file beside a bundle, None where there never was one.

    Raises
    ------
    BundleError
        If it is gone, or not as it was written.
    """
    wanted = _listed(place).get(name)
    if wanted is None:
        return None
    try:
        part = (place / name).read_bytes()
    except OSError as error:
        raise BundleError(f"{place / name} cannot be read: {error.strerror}.", WAY_OUT) from error
    if hashlib.sha256(part).hexdigest() != wanted:
        raise BundleError(f"{place / name} is not as it was written.", WAY_OUT)
    return part


def _listed(place: Path) -> dict[str, str]:
    try:
        return msgspec.json.decode((place / LIST).read_bytes(), type=Attached).sha256
    except FileNotFoundError:
        return {}
    except msgspec.MsgspecError as error:
        raise BundleError(f"{place / LIST} cannot be read: {error}.", "Remove it, and make the report anew.") from error


def _replace(path: Path, part: bytes) -> None:
    draft = path.with_name(f".{path.name}.draft")
    write(draft, part)
    draft.rename(path)
