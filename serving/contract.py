"""The contract as an OpenAPI 3.1 document, read off the handlers and the very types that they decode and answer.

Schemas are msgspec's own, so that a bound which refuses a request is the bound that the document names.
"""

import inspect
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any, NamedTuple, get_args, get_origin, get_type_hints

import msgspec
from litestar.handlers import HTTPRouteHandler
from litestar.params import ParameterKwarg

from serving.api import MEANINGS, MEDIA_TYPE, Code, Problem
from serving.batch import MAX_RECORDS, Form
from serving.examples import EXAMPLES, Shown
from serving.hot import MAX_BODY_BYTES
from serving.operations import OPERATIONS, TAGS, Operation

Json = dict[str, Any]
JSON, PLAIN = "application/json", "text/plain"
REFERENCE = "#/components/schemas/{name}"

ABOUT = f"""Ranks feeds of live rooms, products and short videos. Every error is one `Problem` with a stable `code`.

Bodies are JSON of at most {MAX_BODY_BYTES} bytes (413 `too_large`), and say so by their `Content-Type` (415
`unsupported_media_type`). Whole numbers are written without a point. All times are milliseconds since 1970 UTC, money
is in minor units."""
KEY = """From the first key of a home on, `Authorization: Bearer KEY`; the key must have the scope that an operation \
names, or `admin`. A home without keys asks for none."""
WAIT = {
    "description": "When to come again, in seconds.",
    "required": True,
    "schema": {"type": "integer", "minimum": 1},
}
CHALLENGE = {"required": True, "schema": {"const": "Bearer"}}
BOUNDS = {"minimum": "ge", "maximum": "le", "minLength": "min_length", "maxLength": "max_length"}
"""How a schema calls what the framework calls so."""
BY_QUERY = "_by_query"
"""Ends the name of an operation that takes in the query what its twin takes in the path."""


class Path(NamedTuple):
    """One way to a handler: the path as documents write it, its method, and the handler."""

    path: str
    method: str
    handler: HTTPRouteHandler

    @property
    def name(self) -> str:
        """Of the handler's function."""
        return str(self.handler.fn.__name__)

    @property
    def operation(self) -> str:
        """The name of the operation, which no other has."""
        twins = any("{" in path for path in self.handler.paths)
        return self.name + BY_QUERY * (twins and "{" not in self.path)


def paths(handlers: Mapping[str, Sequence[HTTPRouteHandler]]) -> tuple[Path, ...]:
    """Every way to the handlers, which are by the prefix of their paths."""
    return tuple(
        Path(re.sub(r":\w+}", "}", prefix + path), method.lower(), handler)
        for prefix, under in handlers.items()
        for handler in under
        for path in sorted(handler.paths, key=len, reverse=True)
        for method in sorted(handler.http_methods)
    )


def document(handlers: Mapping[str, Sequence[HTTPRouteHandler]]) -> Json:
    """The OpenAPI document of handlers, which are by the prefix of their paths."""
    schemas = _Schemas()
    found: dict[str, Json] = {}
    for one in paths(handlers):
        found.setdefault(one.path, {})[one.method] = _operation(one, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Huozhao", "version": _version(), "description": ABOUT, "license": {"name": "Apache-2.0"}},
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": found,
        "components": {
            "schemas": schemas.components(),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": KEY}},
        },
    }


class _Schemas:
    """Schemas of types, and of all that they are made of."""

    def __init__(self) -> None:
        self._types: list[Any] = [Problem]

    def of(self, type_: Any) -> Json:  # noqa: ANN401  # what annotates an argument may be anything
        """The schema of a type, by reference where it has a name."""
        if (form := _form(type_)) is not None:
            kinds = [self.of(kind) for kind in form.types.values()]
            items = kinds[0] if len(kinds) == 1 else {"oneOf": kinds}
            return {"type": "array", "minItems": 1, "maxItems": MAX_RECORDS, "items": items}
        self._types.append(type_)
        return _written(type_)

    def components(self) -> Json:
        """All that were named, in the order of their names."""
        (_, found) = msgspec.json.schema_components(self._types, ref_template=REFERENCE)
        for name in ("Event", "Item", "User"):
            # Where the route says what a record is, it need not say so itself.
            found[name]["required"].remove("type")
        meanings = "\n".join(f"- `{code}` ({of.status}): {of.means}; {of.way_out}." for code, of in MEANINGS.items())
        found["Code"]["description"] = f"{inspect.cleandoc(Code.__doc__ or '')}\n\n{meanings}"
        for schema in found.values():
            if "description" in schema:
                schema["description"] = _text(schema["description"])
        return dict(sorted(found.items()))


def _operation(one: Path, schemas: _Schemas) -> Json:
    fn, told, shown = one.handler.fn, OPERATIONS[one.name], EXAMPLES[one.name]
    hints = get_type_hints(fn, include_extras=True)
    summary, _, more = _text(fn.__doc__ or "").partition("\n\n")
    media_type = PLAIN if hints["return"] is str else JSON
    found: Json = {
        "operationId": one.operation,
        "tags": [told.tag],
        "summary": summary.replace("\n", " "),
        "description": more or summary,
        "parameters": [
            _parameter(name, hint, mark, fn, one.path, shown) for name, hint in hints.items() if (mark := _mark(hint))
        ],
        "responses": {
            "200": _answer(schemas.of(hints["return"]), shown, media_type),
            **_problems(told),
        },
    }
    if told.scope:
        found["security"] = [{"key": [told.scope]}, {}]
        found["description"] += f"\n\nScope: `{told.scope}`."
    if "data" in hints:
        examples = {name: {"value": value} for name, value in shown.bodies.items()}
        content = {"schema": schemas.of(hints["data"]), "examples": examples}
        about = f"At most {MAX_BODY_BYTES} bytes."
        found["requestBody"] = {"description": about, "required": True, "content": {JSON: content}}
    return found


def _parameter(name: str, hint: Any, mark: ParameterKwarg, fn: Any, path: str, shown: Shown) -> Json:  # noqa: ANN401
    """A parameter by what its annotation allows; in the path it holds no slash."""
    is_in_path = f"{{{name}}}" in path
    default = inspect.signature(fn).parameters[name].default
    schema = _written(get_args(hint)[0]) | {
        key: bound for key in BOUNDS if (bound := getattr(mark, BOUNDS[key])) is not None
    }
    if is_in_path:
        schema["pattern"] = "^[^/]+$"
    if default is not inspect.Parameter.empty:
        schema["default"] = default
    return {
        "name": name,
        "in": "path" if is_in_path else "query",
        "required": default is inspect.Parameter.empty,
        "description": mark.description,
        "schema": schema,
        "example": shown.parameters[name],
    }


def _answer(schema: Json, shown: Shown, media_type: str) -> Json:
    content = {"schema": schema, "examples": {"answer": {"value": shown.answer}}}
    return {"description": "Done.", "content": {media_type: content}}


def _problems(told: Operation) -> Json:
    """What an operation may answer instead, by status: which codes come with it, and which headers."""
    found: dict[str, Json] = {}
    for status in sorted({MEANINGS[code].status for code in told.codes}):
        codes = [code for code in told.codes if MEANINGS[code].status == status]
        narrowed = {"properties": {"status": {"const": status}, "code": {"enum": [str(code) for code in codes]}}}
        found[str(status)] = {
            "description": "; ".join(f"`{code}`: {MEANINGS[code].means}" for code in codes) + ".",
            "content": {MEDIA_TYPE: {"schema": {"allOf": [_written(Problem), narrowed]}}},
        }
        if status in (401, 429):
            header, schema = ("WWW-Authenticate", CHALLENGE) if status == 401 else ("Retry-After", WAIT)
            found[str(status)]["headers"] = {header: schema}
    return found


def _written(type_: Any) -> Json:  # noqa: ANN401
    """The schema of a type, by reference where it has a name."""
    ([schema], _) = msgspec.json.schema_components([type_], ref_template=REFERENCE)
    return schema


def _form(hint: Any) -> Form | None:  # noqa: ANN401
    """What a record of a batch may be, if the annotation is of one."""
    inner = get_args(get_args(hint)[0]) if get_origin(hint) is Annotated else ()
    marks = get_args(inner[0])[1:] if inner else ()
    return next((mark for mark in marks if isinstance(mark, Form)), None)


def _mark(hint: Any) -> ParameterKwarg | None:  # noqa: ANN401
    """What an annotation says of an argument that comes from the path or the query."""
    return next((mark for mark in get_args(hint)[1:] if isinstance(mark, ParameterKwarg)), None)


def _text(docstring: str) -> str:
    """A docstring as Markdown."""
    return inspect.cleandoc(docstring).replace("``", "`")


def _version() -> str:
    try:
        return version("huozhao")
    except PackageNotFoundError:
        return "0"
