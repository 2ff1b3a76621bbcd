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
from ranking.value import Weights

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
    return read(path.read_bytes(), path.name) if path.exists() else default()


def read(text: bytes, name: str) -> Policy:
    """The policy that a file of a name describes by its bytes, over the default one.

    Raises
    ------
    PolicyError
        See ``load``.
    """
    try:
        # Some editors write a byte-order mark first, which is no TOML.
        return parse(text.decode("utf-8-sig"))
    except PolicyError as error:
        raise PolicyError(f"{name}: {error.what}", error.way_out, key=error.key) from error
    except UnicodeDecodeError as error:
        raise PolicyError(f"{name}: {error}.", "Use UTF-8.") from error


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
    except (ValueError, RecursionError) as error:
        # What tomllib leaves to Python: thousands of digits, or of brackets.
        raise PolicyError(f"This cannot be read: {error}.", "Shorten its number, or its lists within lists.") from error
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
    # The default has no weights, which would hide the bundle's; whoever writes some writes them over the usual ones.
    weights = (
        {"weights": _merged(msgspec.to_builtins(Weights()), given["weights"], "weights")} if "weights" in given else {}
    )
    return _convert(_merged(below, given, "") | {"surfaces": rules} | weights, Policy, "")


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
        contrary = re.match(r"(\w+): (.*)", fault)
        fault, below = (contrary[2], contrary[1]) if contrary else (fault, unknown[1] if unknown else "")
        key = ".".join(part for part in (place, inner, below) if part)
        raise PolicyError(f"{key}: {fault}.", _hint(fault, form, inner), key=key) from error


def _hint(fault: str, form: type, inner: str) -> str:
    wrong = re.search(r"(unknown field|enum value) [`'](.*)[`']", fault)
    if wrong and wrong[1] == "enum value":
        values = sorted(_values(_at(inspect.type_info(form), inner)))
        near = get_close_matches(wrong[2], values, 1)
        return f"Did you mean {near[0]!r}?" if near else f"Give {' or '.join(values)}."
    if wrong and (near := get_close_matches(wrong[2], sorted(set(_keys(inspect.type_info(Policy)))), 1)):
        return f"Did you mean {near[0]!r}?"
    if "`datetime" in fault:
        return "Write it with its hour and offset: 2020-10-09T00:00:00+08:00."
    return "The default policy shows every key with its meaning."


def _keys(form: inspect.Type) -> Iterator[str]:
    """Every key that a policy may write."""
    if isinstance(form, inspect.StructType):
        yield from (field.encode_name for field in form.fields)
    for one in form.types if isinstance(form, inspect.UnionType) else _below(form).values():
        yield from _keys(one)


def _at(form: inspect.Type, inner: str) -> inspect.Type:
    """What stands at a place such as ``bounds[0].of``."""
    for part in re.findall(r"\[|\w+(?!\w*\])", inner):
        form = _below(form)[part]
    return form


def _below(form: inspect.Type) -> dict[str, inspect.Type]:
    """What stands in a table, by key, or in a list or in a table of any keys, by "["."""
    match form:
        case inspect.StructType(fields=fields):
            return {field.encode_name: field.type for field in fields}
        case inspect.UnionType(types=several):
            return {key: value for one in several for key, value in _below(one).items()}
        case inspect.VarTupleType(item_type=inner) | inspect.DictType(value_type=inner):
            return {"[": inner}
    return {}


def _values(form: inspect.Type) -> Iterator[str]:
    """The values of what is one of a few."""
    match form:
        case inspect.IntType():
            yield "a whole number"
        case inspect.LiteralType(values=values):
            yield from map(str, values)
        case inspect.EnumType(cls=kinds):
            yield from (str(kind) for kind in kinds)
        case inspect.UnionType(types=several):
            for one in several:
                yield from _values(one)
