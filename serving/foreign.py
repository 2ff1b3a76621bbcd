"""The check at start that every package is ours; see docs/adr/001-top-level-packages.md."""

import importlib.util
from collections.abc import Mapping, Sequence
from importlib.metadata import packages_distributions
from pathlib import Path

from features.errors import HuozhaoError

DISTRIBUTION = "huozhao"
PACKAGES = ("benchmarks", "features", "huozhao", "ranking", "seeds", "serving", "training")
WAY_OUT = "Install Huozhao into an environment of its own, and start it there."


class ForeignPackageError(HuozhaoError):
    """A package of ours is claimed, or hidden, by another's of the same name."""


def check_packages() -> None:
    """Refuse to serve from a package that is not ours.

    Raises
    ------
    ForeignPackageError
        If another distribution ships one of our packages, or one was found elsewhere than its siblings.
    """
    check_claims(packages_distributions())
    check_places({name: _place(name) for name in PACKAGES})


def check_claims(distributions: Mapping[str, Sequence[str]]) -> None:
    """Refuse a package that a distribution other than ours claims; distributions by package."""
    for name in PACKAGES:
        others = set(distributions.get(name, ())) - {DISTRIBUTION}
        if others:
            claim = f"Package {name!r} is also shipped by {', '.join(sorted(others))}; its code may be either's."
            raise ForeignPackageError(claim, WAY_OUT)


def check_places(places: Mapping[str, Path | None]) -> None:
    """Refuse a package that lies elsewhere than this one; folders of packages by name, None where there is none."""
    ours = Path(__file__).resolve().parents[1]
    for name, place in places.items():
        if place is not None and place.resolve() != ours:
            raise ForeignPackageError(f"Package {name!r} was found in {place}, its siblings are in {ours}.", WAY_OUT)


def _place(name: str) -> Path | None:
    """The folder that holds a package, as an import finds it."""
    found = importlib.util.find_spec(name)
    if found is None or not found.submodule_search_locations:
        return Path(found.origin).parent if found and found.origin else None
    return Path(found.submodule_search_locations[0]).parent
