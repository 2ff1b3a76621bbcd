"""The policies that were in force, for good: each as ``<version>.toml`` with every key, and since when in a list."""

import os
from pathlib import Path

import msgspec

from features.errors import PolicyError
from features.logs.log import sync_folder
from ranking.policy.policy import Policy
from ranking.policy.reading import load
from ranking.policy.writing import as_toml

LIST = "in-force.jsonl"


class InForce(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A line of the list: from a moment on pages were made under a version."""

    version: str
    since_ms: int


def keep(folder: Path, policy: Policy, since_ms: int) -> bool:
    """Write down that a policy is in force, durably; nothing where it was the last one already.

    Returns
    -------
    bool
        Whether it is a change.
    """
    before = history(folder)
    if before and before[-1].version == policy.version:
        return False
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / f"{policy.version}.toml"
    if not place.exists():
        draft = place.with_suffix(".draft")
        _write(draft, as_toml(policy).encode(), "wb")
        draft.rename(place)
    _write(folder / LIST, msgspec.json.encode(InForce(policy.version, since_ms)) + b"\n", "ab")
    sync_folder(folder)
    return True


def history(folder: Path) -> list[InForce]:
    """What was in force, oldest first.

    Raises
    ------
    PolicyError
        If the list is not as it was written.
    """
    path = folder / LIST
    # A line that a crash cut off came into force for nobody.
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    try:
        return [msgspec.json.decode(line, type=InForce) for line in lines]
    except msgspec.DecodeError as error:
        raise PolicyError(f"{path}: {error}.", "Restore it from a copy.") from error


def find(folder: Path, version: str) -> Policy:
    """The policy of a version, or of as many of its first digits as no other has.

    Raises
    ------
    PolicyError
        If none or several begin so, or the file does not read as the version it is named by.
    """
    found = sorted(folder.glob(f"{version}*.toml")) if version.isalnum() else []
    if len(found) != 1:
        what = f"{len(found)} policies begin with {version}." if found else f"No policy {version!r} was in force."
        raise PolicyError(what, f"See {folder}.")
    policy = load(found[0])
    if policy.version != found[0].stem:
        raise PolicyError(f"{found[0]} reads as version {policy.version}.", "It was changed, or is of another Huozhao.")
    return policy


def _write(path: Path, text: bytes, mode: str) -> None:
    with path.open(mode) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
