"""Which bundles a folder holds, and which one a person means."""

from pathlib import Path

from features.errors import BundleError
from ranking.bundle import current


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
