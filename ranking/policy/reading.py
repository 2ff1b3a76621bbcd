"""From text to policy: laid over the default, checked key by key, a mistake told with its key and its line."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from features.errors import PolicyError
from ranking.policy.lines import line_of
from ranking.policy.page import Surface
from ranking.policy.policy import Policy

DEFAULT_TOML = files("ranking.policy").joinpath("default.toml").read_text("utf-8")
"""The policy of a home that has none, with the meaning of every key."""
_T = TypeVar("_T")


@cache
def default() -> Policy:
    """The policy of ``DEFAULT_TOML``."""
    return parse(DEFAULT_TOML)


def load(path: Path) -> Policy:
    """The policy in a TOML file; the default one where there is no file.

    Raises
    ------
    PolicyError
        If the file is no TOML, or a key is unknown or out of its range; the message names file, line and key.
    """
    if not path.exists():
        return default()
    try:
        return parse(path.read_text("utf-8"))
    except PolicyError as error:
        raise PolicyError(f"{path.name}: {error.what}", error.way_out, key=error.key) from error
    except UnicodeDecodeError as error:
        raise PolicyError(f"{path.name}: {error}.", "Use UTF-8.") from error


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
        place = re.search(r" \(at line (\d+), column (\d+)\)$", str(error))
        if place is None:
            raise PolicyError(
                f"This is no TOML: {error}.", "Mend its end: a value, a quote or a bracket is missing."
            ) from error
        what = f"line {place[1]}, column {place[2]}: this is no TOML: {str(error)[: place.start()]}."
        raise PolicyError(what, "Mend that line.") from error
    try:
        return _policy(given)
    except PolicyError as error:
        line = line_of(text, error.key)
        # What contradicts a default has no line in the text.
        where = f"line {line}: " if line else ""
        raise PolicyError(where + error.what, error.way_out, key=error.key) from error


def _policy(given: dict[str, Any]) -> Policy:
    below = tomllib.loads(DEFAULT_TOML)
    surfaces = _merged(below["surfaces"], given.get("surfaces", {}), "surfaces")
    # A surface that the default does not know says only how it differs from feed.
    rules = {
        name: _convert(_merged(surfaces["feed"], table, f"surfaces.{name}"), Surface, f"surfaces.{name}")
        for name, table in surfaces.items()
    }
    return _convert(_merged(below, given, "") | {"surfaces": rules}, Policy, "")


def _merged(below: Mapping[str, Any], above: object, place: str) -> dict[str, Any]:
    """A table over another: tables within are merged likewise, all else is replaced."""
    if not isinstance(above, dict):
        raise PolicyError(f"{place} is {above!r}.", f"Write a table: [{place}].", key=place)
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
        unknown = re.search(r"unknown field `(.*)`", fault)
        key = ".".join(part for part in (place, inner, unknown[1] if unknown else "") if part)
        raise PolicyError(f"{key}: {fault}.", _hint(fault), key=key) from error


def _hint(fault: str) -> str:
    unknown = re.search(r"(?:unknown field|enum value) [`'](.*)[`']", fault)
    near = get_close_matches(unknown[1], sorted(set(_names(inspect.type_info(Policy)))), 1) if unknown else []
    return f"Did you mean {near[0]!r}?" if near else "The default policy shows every key with its meaning."


def _names(form: inspect.Type) -> Iterator[str]:
    """Every name that a policy may write: keys, and values that are one of a few."""
    match form:
        case inspect.StructType(fields=fields):
            for field in fields:
                yield field.encode_name
                yield from _names(field.type)
        case inspect.LiteralType(values=values):
            yield from map(str, values)
        case inspect.EnumType(cls=kinds):
            yield from (str(kind) for kind in kinds)
        case inspect.VarTupleType(item_type=inner) | inspect.DictType(value_type=inner):
            yield from _names(inner)
        case inspect.UnionType(types=several):
            for one in several:
                yield from _names(one)
