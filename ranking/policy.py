"""The policy: what an operator decides, as data with a version. A mistake in it is refused by the name of its key."""

import hashlib
import re
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import msgspec

from features.errors import FeatureError, PolicyError
from features.records import Kind
from features.schema import half_life_ms
from ranking.types import MAX_COUNT
from ranking.value import Weights

DEFAULT_TOML = """\
# The policy of a Huozhao home. What is left out is as in this file. Durations: "90s", "30m", "24h", "7d".

# Recall channels, in the order that credits an item which several of them found.
sources = ["live", "products", "videos", "trending", "fresh"]
candidates = 300    # at most, of each source and kind
page_most = 200     # items of a page, at most
room_ttl = "3m"     # a room is alive for so long after its last pulse
seen_window = "30m" # what a person was shown within it is not shown again while there is anything else

# Where more than `keep` candidates are legal, the first `trees` of each head look at them all, and only the best `keep`
# are scored in full (and of each kind as many as the page is long).
[light]
trees = 40
keep = 500

# The value is the sum of weight x scale x probability, each head in units of its own standard deviation.
# complete > like > comment > share > 0 is enforced; those of hide and report are subtracted.
[weights]
complete = 4.0
like = 3.0
comment = 2.0
share = 1.0
click = 0.0
long_view = 0.0
follow = 0.0
gift = 0.0
cart = 0.0
order = 0.0
hide = 1.0
report = 1.0

# The order by value may give way to one whose neighbours differ: "dpp" (determinantal point process) or "mmr" (maximal
# marginal relevance) of the `depth` best by value. `theta`, from 0 to below 1, is the say of value; of what was placed
# the last `window` count, with 0 all of it.
[rerank]
method = "none"
theta = 0.7
window = 10
depth = 300

# A surface shows its kinds only. Its bounds hold on every page, each over any `window` consecutive slots; where
# nothing fits they give way as written, the first bound first. Its weights replace those above. A surface that has
# no table of its own goes by that of feed.
[surfaces.feed]
kinds = ["room", "product", "video"]
bounds = [
    { of = "author", at_most = 1, window = 4 },
    { of = "room", at_most = 6, window = 10 },
    { of = "product", at_most = 3, window = 10 },
]
weights = {}

[surfaces.plaza]
kinds = ["room"]
bounds = [{ of = "author", at_most = 1, window = 4 }]
weights = { follow = 1.0, gift = 1.0, order = 1.0 }

[surfaces.mall]
kinds = ["product"]
bounds = [{ of = "author", at_most = 2, window = 6 }]
weights = { click = 1.0, cart = 2.0, order = 4.0 }
"""

SourceName = Literal["live", "products", "videos", "trending", "fresh"]
BoundOf = Literal["author", "room", "product", "video"]
RerankBy = Literal["none", "dpp", "mmr"]
_T = TypeVar("_T")


class Bound(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """At most ``at_most`` items of one author, or of one kind, in any ``window`` consecutive slots."""

    of: BoundOf
    at_most: Annotated[int, msgspec.Meta(ge=1, le=200)]
    window: Annotated[int, msgspec.Meta(ge=1, le=200)]

    @property
    def name(self) -> str:
        """How answers call it when it gave way."""
        return f"{self.of} {self.at_most}/{self.window}"


class Light(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The light first stage: which trees look at all candidates, and how many are then scored in full."""

    trees: Annotated[int, msgspec.Meta(ge=1, le=100_000)]
    keep: Annotated[int, msgspec.Meta(ge=1, le=100_000)]


class Rerank(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the order by value gives way to variety, as in ``ranking.rerank``."""

    method: RerankBy
    theta: Annotated[float, msgspec.Meta(ge=0, lt=1)]
    window: Annotated[int, msgspec.Meta(ge=0, le=200)]
    depth: Annotated[int, msgspec.Meta(ge=1, le=5_000)]


class Surface(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entrance: the kinds it shows, its bounds in the order they give way, the weights it replaces."""

    kinds: Annotated[tuple[Kind, ...], msgspec.Meta(min_length=1)]
    bounds: tuple[Bound, ...]
    weights: dict[str, float]


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """All that is decided rather than learned; ``DEFAULT_TOML`` says what each key means.

    Raises
    ------
    PolicyError
        If a value is out of its range; the message names the key.
    """

    sources: tuple[SourceName, ...]
    candidates: Annotated[int, msgspec.Meta(ge=1, le=10_000)]
    page_most: Annotated[int, msgspec.Meta(ge=1, le=MAX_COUNT)]
    room_ttl: str
    seen_window: str
    light: Light
    weights: Weights
    rerank: Rerank
    surfaces: dict[str, Surface]

    def __post_init__(self) -> None:
        if len(set(self.sources)) < len(self.sources):
            raise PolicyError("sources names one twice.", "Name each recall channel once.")
        if "feed" not in self.surfaces:
            raise PolicyError("surfaces.feed is missing.", "Other surfaces go by it.")
        _duration_ms("room_ttl", self.room_ttl)
        _duration_ms("seen_window", self.seen_window)
        if self.light.keep < self.page_most:
            what = f"light.keep = {self.light.keep} is below page_most = {self.page_most}."
            raise PolicyError(what, "Keep at least as many candidates as a page may hold.")
        self.weights_for("feed")

    @classmethod
    def default(cls) -> "Policy":
        """The policy of ``DEFAULT_TOML``."""
        return parse(DEFAULT_TOML)

    @cached_property
    def version(self) -> str:
        """Twelve hexadecimal digits over every value; comments and the order of keys do not count."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()[:12]

    @cached_property
    def room_ttl_ms(self) -> int:
        """Milliseconds a room is alive after its last pulse."""
        return _duration_ms("room_ttl", self.room_ttl)

    @cached_property
    def seen_window_ms(self) -> int:
        """Milliseconds within which an item shown counts as seen."""
        return _duration_ms("seen_window", self.seen_window)

    def surface(self, name: str) -> Surface:
        """The rules of a surface; those of ``feed`` where it has none."""
        return self.surfaces.get(name, self.surfaces["feed"])

    def weights_for(self, name: str) -> Weights:
        """The weights of a surface."""
        return self._weights.get(name, self._weights["feed"])

    @cached_property
    def _weights(self) -> dict[str, Weights]:
        return {name: self._checked_weights(name) for name in self.surfaces}

    def _checked_weights(self, name: str) -> Weights:
        try:
            return self.weights.with_changes(self.surface(name).weights)
        except PolicyError as error:
            raise PolicyError(f"surfaces.{name}: {error.what}", error.way_out) from error


def load(path: Path) -> Policy:
    """The policy in a TOML file; the default one where there is no file.

    Raises
    ------
    PolicyError
        If the file is no TOML, or a key is unknown or out of its range; the message names the file and the key.
    """
    if not path.exists():
        return Policy.default()
    try:
        return parse(path.read_text("utf-8"))
    except (PolicyError, UnicodeDecodeError) as error:
        what, way_out = (error.what, error.way_out) if isinstance(error, PolicyError) else (f"{error}.", "Use UTF-8.")
        raise PolicyError(f"{path.name}: {what}", way_out) from error


def parse(text: str) -> Policy:
    """The policy that a TOML text describes, over the default one.

    Raises
    ------
    PolicyError
        See ``load``.
    """
    try:
        given = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PolicyError(f"This is no TOML: {error}.", "Mend the line it names.") from error
    default = tomllib.loads(DEFAULT_TOML)
    surfaces = _merged(default["surfaces"], given.pop("surfaces", {}), "surfaces")
    # A surface that the default does not know says only how it differs from feed.
    rules = {
        name: _convert(_merged(surfaces["feed"], table, f"surfaces.{name}"), Surface, f"surfaces.{name}")
        for name, table in surfaces.items()
    }
    whole = _merged(default, given, "")
    return _convert(whole | {"surfaces": rules}, Policy, "")


def _merged(below: Mapping[str, Any], above: object, place: str) -> dict[str, Any]:
    """A table over another: tables within are merged likewise, all else is replaced."""
    if not isinstance(above, dict):
        raise PolicyError(f"{place} is {above!r}.", f"Write a table: [{place}].")
    merged = dict(below) | above
    for key, value in below.items():
        if isinstance(value, dict) and value:
            merged[key] = _merged(value, merged[key], f"{place}.{key}".lstrip("."))
    return merged


def _convert(table: Mapping[str, Any], form: type[_T], place: str) -> _T:
    try:
        return msgspec.convert(table, form)
    except msgspec.ValidationError as error:
        fault, _, where = str(error).partition(" - at ")
        inner = where.strip("`").removeprefix("$").lstrip(".")
        key = ".".join(part for part in (place, inner) if part) or "the policy"
        raise PolicyError(f"{key}: {fault}.", _hint(fault)) from error


def _hint(fault: str) -> str:
    known = {name for form in (Policy, Light, Rerank, Surface, Bound, Weights) for name in form.__struct_fields__}
    known |= {*get_args(SourceName), *get_args(BoundOf), *get_args(RerankBy)}
    unknown = re.search(r"(?:unknown field|enum value) [`'](.*)[`']", fault)
    near = get_close_matches(unknown[1], sorted(known), 1) if unknown else []
    return f"Did you mean {near[0]!r}?" if near else "The default policy shows every key with its meaning."


def _duration_ms(key: str, text: str) -> int:
    try:
        return half_life_ms(text)
    except FeatureError as error:
        raise PolicyError(f"{key}: {text!r} is not a duration.", 'Write it as "90s", "30m" or "1h".') from error
