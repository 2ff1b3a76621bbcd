"""A policy as text with every key, and two policies side by side."""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec

from ranking.policy.policy import Policy


def as_toml(policy: Policy) -> str:
    """Every key of a policy as TOML, which reads as the same policy whatever the defaults become."""
    lines = list(_lines(_built(policy), ""))
    return "\n".join(lines).strip() + "\n"


def changes(before: Policy, after: Policy) -> list[tuple[str, str, str]]:
    """The keys in which two policies differ, with their values as TOML, empty where one has none; by key."""
    old, new = (dict(_flat(_built(policy), "")) for policy in (before, after))
    return [(key, old.get(key, ""), new.get(key, "")) for key in sorted(old | new) if old.get(key) != new.get(key)]


def _built(policy: Policy) -> dict[str, Any]:
    built: dict[str, Any] = msgspec.to_builtins(policy, builtin_types=(datetime,))
    return built


def _lines(table: Mapping[str, Any], place: str) -> Iterator[str]:
    """The lines of a table, those of the tables within it last; what is None is left out."""
    for key, value in table.items():
        if _is_list_of_tables(value):
            yield f"{key} = ["
            yield from (f"    {_text(one)}," for one in value)
            yield "]"
        elif value is not None and not _is_table(value, place):
            yield f"{key} = {_text(value)}"
    for key, value in table.items():
        if _is_table(value, place):
            header = f"{place}.{_key(key)}".lstrip(".")
            # What holds nothing but tables needs no header of its own.
            if not all(isinstance(one, dict) for one in value.values()):
                yield f"\n[{header}]"
            yield from _lines(value, header)


def _is_table(value: object, place: str) -> bool:
    # The weights of a surface fit on its line.
    return isinstance(value, dict) and not place.startswith("surfaces.")


def _is_list_of_tables(value: object) -> bool:
    return isinstance(value, list | tuple) and bool(value) and isinstance(value[0], dict)


def _flat(value: object, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{place}.{key}".lstrip("."))
    elif isinstance(value, list | tuple) and _is_list_of_tables(value):
        for number, inner in enumerate(value):
            # What has a name keeps it when others come before it.
            yield from _flat(inner, f"{place}[{inner.get('name', number)}]")
    elif value not in (None, [], (), {}):
        yield place, _text(value)


def _text(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case datetime():
            return value.isoformat()
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
        case dict():
            inner = ", ".join(f"{_key(key)} = {_text(one)}" for key, one in value.items() if one is not None)
            return f"{{ {inner} }}" if inner else "{}"
        case list() | tuple():
            return f"[{', '.join(map(_text, value))}]"
        case _:
            return repr(value)


def _key(name: str) -> str:
    return name if name.replace("_", "a").replace("-", "a").isalnum() and name.isascii() else _text(name)
