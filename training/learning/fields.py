"""Fields that columns are asked for by name, held against the catalog: one that nobody has is empty in every row."""

from collections.abc import Iterable
from difflib import get_close_matches

from features.columns import Category, Column
from features.errors import FeatureError
from features.history import History
from features.layout import ITEM_CATEGORIES, ITEM_NUMBERS, USER_CATEGORIES
from features.records import Item, User
from features.schema import FeatureSet

TYPES = {Column: "column", Category: "category"}


def refuse_unknown_fields(feature_set: FeatureSet, history: History) -> None:
    """Refuse a Column of what is no number, or a Category of what is no text, of any item or user of the log.

    Raises
    ------
    FeatureError
        Naming the column and the nearest field that is there.
    """
    known = {
        "item": _fields(history.catalog.values(), ITEM_NUMBERS, ITEM_CATEGORIES),
        "user": _fields(history.people.values(), (), USER_CATEGORIES),
    }
    for column in feature_set.columns:
        if isinstance(column, Column | Category):
            _check(column, known)


def _fields(
    rows: Iterable[Item | User], numbers: Iterable[str], texts: Iterable[str]
) -> set[tuple[str, type[Column | Category]]]:
    """Names with the form of column that reads them: those of every row, and attributes that some row has."""
    built_in = {(name, Column) for name in numbers} | {(name, Category) for name in texts}
    values = {(name, type(value)) for row in rows for name, value in row.attributes.items()}
    return built_in | {(name, Category if form is str else Column) for name, form in values}


def _check(column: Column | Category, known: dict[str, set[tuple[str, type[Column | Category]]]]) -> None:
    entity, _, name = column.source.partition(".")
    fields = known[entity]
    if (name, type(column)) in fields:
        return
    near = get_close_matches(name, sorted({name for name, _ in fields}), 1)
    kind = "number" if isinstance(column, Column) else "text"
    what = f"feature {column.name!r}: no {entity} of the log has a {kind} {name!r}, so it would always be empty."
    if near:
        forms = [TYPES[form] for form in (type(column), Column, Category) if (near[0], form) in fields]
        raise FeatureError(what, f'Did you mean {{ type = "{forms[0]}", source = "{entity}.{near[0]}" }}?')
    way_out = f"Leave it out until the catalog has it. Known are {', '.join(sorted({name for name, _ in fields}))}."
    raise FeatureError(what, way_out)
