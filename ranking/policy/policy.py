"""The policy as a whole: one struct of the tables, its version and what follows from its values."""

import hashlib
from functools import cached_property
from typing import Annotated, Literal

import msgspec

from features.errors import FeatureError, PolicyError, SurfaceError
from features.layout import half_life_ms
from features.records import NAME_LENGTH
from ranking.api import MAX_COUNT
from ranking.policy.boosts import Boost
from ranking.policy.explore import Explore
from ranking.policy.lean import Fees, Terms
from ranking.policy.load import Commerce, HeadHosts
from ranking.policy.page import Light, Rerank, Surface
from ranking.policy.quality import Floor
from ranking.policy.rules import MOST_MARKS, Rule
from ranking.policy.suppress import Suppress
from ranking.value import ORDER, Weights

SourceName = Literal["live", "products", "videos", "trending", "fresh", "follow"]


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, dict=True):
    """All that is decided rather than learned; ``default.toml`` says what each key means.

    ``weights`` are None where those of the bundle are served.

    Raises
    ------
    PolicyError
        If a value is out of its range; the message names the key.
    """

    sources: tuple[SourceName, ...]
    candidates: Annotated[int, msgspec.Meta(ge=1, le=10_000)]
    page_most: Annotated[int, msgspec.Meta(ge=1, le=MAX_COUNT)]
    room_ttl: str
    light: Light
    weights: Weights | None = None
    rerank: Rerank
    explore: Explore
    suppress: Suppress
    surfaces: dict[str, Surface]
    rules: Annotated[tuple[Rule, ...], msgspec.Meta(max_length=200)]
    quality: tuple[Floor, ...]
    fees: Fees
    terms: Terms
    commerce: Commerce
    head_hosts: HeadHosts
    boosts: Annotated[tuple[Boost, ...], msgspec.Meta(max_length=10_000)]

    def __post_init__(self) -> None:
        if len(set(self.sources)) < len(self.sources):
            raise PolicyError("sources names one twice.", "Name each recall channel once.", key="sources")
        if "feed" not in self.surfaces:
            raise PolicyError("surfaces.feed is missing.", "Other surfaces go by it.", key="surfaces")
        _duration_ms("room_ttl", self.room_ttl)
        if self.light.keep < self.page_most:
            what = f"light.keep = {self.light.keep} is below page_most = {self.page_most}."
            raise PolicyError(what, "Keep at least as many candidates as a page may hold.", key="light.keep")
        for table, named in (("rules", self.rules), ("boosts", self.boosts)):
            names = [one.name for one in named]
            for at, name in enumerate(names):
                if name in names[:at]:
                    key = f"{table}[{at}].name"
                    raise PolicyError(f"{key}: {name!r} is taken.", "Give each a name of its own.", key=key)
        self._check_marks()
        self._check_surfaces()
        for name in self.surfaces:
            self._check_weights(name)

    def _check_marks(self) -> None:
        """Refuse rules that look at more attributes than are kept of a product."""
        marks: set[str] = set()
        for at, rule in enumerate(self.rules):
            marks |= {rule.unless} - {""}
            if len(marks) > MOST_MARKS:
                key = f"rules[{at}].unless"
                what = f"{key}: {rule.unless!r} is one more than the {MOST_MARKS} attributes that rules may name."
                way_out = "Name in several rules one attribute, which all the products have that they do not mean."
                raise PolicyError(what, way_out, key=key)

    def _check_surfaces(self) -> None:
        """Refuse a surface that no request can name, and a rule, a boost or a load of one that is not there."""
        for name in self.surfaces:
            if not 1 <= len(name) <= NAME_LENGTH:
                key = f"surfaces.{name}"
                what = f"{key}: its name has {len(name)} characters, and no request can name it."
                raise PolicyError(what, f"Give it a name of 1 to {NAME_LENGTH} characters.", key=key)
        named = {"commerce.surfaces": self.commerce.surfaces}
        named |= {f"rules[{at}].surfaces": rule.surfaces for at, rule in enumerate(self.rules)}
        named |= {f"boosts[{at}].surfaces": boost.surfaces for at, boost in enumerate(self.boosts)}
        for key, surfaces in named.items():
            for name in surfaces:
                if name not in self.surfaces:
                    way_out = f"Name one of {', '.join(self.surfaces)}, or declare it as a table [surfaces.{name}]."
                    raise PolicyError(f"{key}: there is no surface {name!r}.", way_out, key=key)

    @cached_property
    def version(self) -> str:
        """Twelve hexadecimal digits over every value; comments and the order of keys do not count."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()[:12]

    @cached_property
    def room_ttl_ms(self) -> int:
        """Milliseconds a room is alive after its last pulse."""
        return _duration_ms("room_ttl", self.room_ttl)

    @cached_property
    def counts_served(self) -> bool:
        """Whether anything goes by how much of a day sold."""
        over_a_day = any(bound.window == "day" for surface in self.surfaces.values() for bound in surface.bounds)
        return self.commerce.most > 0 or over_a_day

    def surface(self, name: str) -> Surface:
        """The rules of a surface; those of ``feed`` where it has none: pages of the log may be of one that is gone."""
        return self.surfaces.get(name, self.surfaces["feed"])

    def refuse_unknown(self, surface: str) -> None:
        """Refuse a surface that a request names and the policy does not declare.

        Raises
        ------
        SurfaceError
            Naming those that there are.
        """
        if surface not in self.surfaces:
            way_out = f"There are {', '.join(self.surfaces)}; policy.toml may declare others."
            raise SurfaceError(f"surface: there is no {surface!r}.", way_out)

    def weights_for(self, name: str, learned: Weights) -> Weights:
        """The weights of a surface, where the bundle has learned with others or the same.

        The policy's where it has any; else those learned with, some of them replaced by the surface. A surface that
        replaces some of ``ORDER`` replaces them among the default ones, so that they fit whatever bundle comes.
        """
        changes = self.surface(name).weights
        below = Weights() if changes.keys() & set(ORDER) else learned
        return (self.weights or below).with_changes(changes)

    def _check_weights(self, name: str) -> None:
        try:
            self.weights_for(name, Weights())
        except PolicyError as error:
            what = f"surfaces.{name}: {error.what}"
            raise PolicyError(what, error.way_out, key=f"surfaces.{name}.{error.key}") from error


def _duration_ms(key: str, text: str) -> int:
    try:
        return half_life_ms(text)
    except FeatureError as error:
        way_out = 'Write it as "90s", "30m" or "1h".'
        raise PolicyError(f"{key}: {text!r} is not a duration.", way_out, key=key) from error
