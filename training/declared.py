"""What a data scientist declares in a file, TOML or JSON: the columns to learn from, and what heads are worth."""

import difflib
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args

import msgspec

from features.columns import Feature
from features.errors import FeatureError, HuozhaoError, PolicyError
from features.schema import FeatureSet
from ranking.value import Weights

FORMS = {form.__struct_config__.tag: form for form in get_args(Feature)}


def read_features(path: Path) -> FeatureSet:
    """A FeatureSet from a file with ``columns``, each with its ``type``; a bundle's ``features.json`` is one, too.

    As TOML, a column is a line of ``columns = [...]`` such as
    ``{ type = "rate", of = "item", action = "click", half_life = "7d", prior = 10 }``.

    Raises
    ------
    FeatureError
        If the file cannot be read, or a type, key, entity, action or context in it is unknown; with the nearest known.
    """
    given = _read(path, FeatureError)
    _known(given, FeatureSet.__struct_fields__, f"{path}", FeatureError)
    columns = given.get("columns", [])
    if not isinstance(columns, list) or not all(isinstance(column, dict) for column in columns):
        raise FeatureError(f"{path}: columns is not a list of tables.", 'Write them as [{ type = "count", … }, …].')
    for number, column in enumerate(columns, 1):
        place = f"{path}: column {number}"
        form = column.get("type", "")
        _known([form], FORMS, f"{place}, type", FeatureError)
        _known(column, ("type", *FORMS[form].__struct_fields__), place, FeatureError)
    try:
        return msgspec.convert(given, FeatureSet)
    except msgspec.ValidationError as error:
        raise FeatureError(f"{path}: {error}.", "See docs/features.md.") from error


def read_objective(path: Path) -> Weights:
    """What one standard deviation of each head is worth, from a file of ``head = weight``; others keep the default.

    Raises
    ------
    PolicyError
        If the file cannot be read, a name is no head's, or ``complete > like > comment > share > 0`` does not hold.
    """
    given = _read(path, PolicyError)
    for head, weight in given.items():
        if isinstance(weight, bool) or not isinstance(weight, int | float):
            raise PolicyError(f"{path}: {head} is {weight!r}, not a number.", "Write it as like = 3.0.")
    try:
        return Weights().with_changes({head: float(weight) for head, weight in given.items()})
    except PolicyError as error:
        raise PolicyError(f"{path}: {error.what}", error.way_out) from error


def _read(path: Path, wrong: type[HuozhaoError]) -> dict[str, Any]:
    try:
        text = path.read_text("utf-8")
        given = msgspec.json.decode(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise wrong(f"{path} cannot be read: {error}.", "Name a TOML or JSON file.") from error
    except (tomllib.TOMLDecodeError, msgspec.DecodeError) as error:
        raise wrong(f"{path} is not {'JSON' if path.suffix == '.json' else 'TOML'}: {error}.", "Mend it.") from error
    if not isinstance(given, dict):
        raise wrong(f"{path} does not hold a table.", "Write keys and values.")
    return given


def _known(names: Iterable[str], known: Iterable[str], place: str, wrong: type[HuozhaoError]) -> None:
    known = list(known)
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, 1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Known are {', '.join(known)}."
            raise wrong(f"{place}: {name!r} is unknown.", hint)
