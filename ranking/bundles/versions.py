"""Which bundles a folder holds, which one a person means, and an old one written as bundles are today."""

from dataclasses import replace
from pathlib import Path

from features.errors import BundleError
from ranking.bundles.bundle import FORMAT, load, read_manifest, save
from ranking.bundles.pointer import current


def find(bundles: Path, name: str) -> str:
    """The version that a name begins: as many of its digits as no other has, or "current".

    Raises
    ------
    BundleError
        If there is none, or more than one.
    """
    if name == "current":
        return current(bundles).name
    versions = versions_of(bundles)
    found = [version for version in versions if name and version.startswith(name)]
    if len(found) != 1:
        what = f"{len(found)} bundles of {bundles} begin with {name!r}." if found else f"{bundles} has no {name!r}."
        raise BundleError(what, f"There are {', '.join(versions) or 'none'}; `huozhao models` lists them.")
    return found[0]


def versions_of(bundles: Path) -> list[str]:
    """The versions in a folder, the oldest made first."""
    places = [path.parent for path in bundles.glob("*/manifest.json") if not path.parent.name.startswith(".")]
    return [
        place.name
        for place in sorted(places, key=lambda place: ((place / "manifest.json").stat().st_mtime_ns, place.name))
    ]


def migrate(bundles: Path, version: str) -> Path:
    """Write a bundle of an earlier format in today's beside itself; its path there.

    It says the same of every item, to the bit, under another version; the old one stays, as served pages name it. One
    of today's format is left as it is.
    """
    place = bundles / version
    return save(replace(load(place), format=FORMAT), bundles, read_manifest(place).packages)
