"""The contract as a page that needs no network: plain HTML, made from the same document that programs read."""

from collections.abc import Mapping
from html import escape
from typing import Any

import msgspec

DOCUMENT = "/schema/openapi.json"
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h2 code { background: #eee; padding: .1em .4em; border-radius: .2em; } h2 { margin-top: 2rem; font-size: 1.1rem; }
pre { background: #f6f6f6; padding: 1rem; overflow-x: auto; font-size: .85rem; }
"""
_METHODS = ("get", "put", "post", "delete")


def page(document: Mapping[str, Any]) -> bytes:
    """The OpenAPI document as UTF-8 HTML, without a script or a style from elsewhere."""
    title = escape(f"{document['info']['title']} {document['info']['version']}")
    operations = [
        _operation(method, path, item[method])
        for path, item in document["paths"].items()
        for method in _METHODS
        if method in item
    ]
    schemas = [
        f"<h2 id='{escape(name)}'>{escape(name)}</h2>{_code(schema)}"
        for name, schema in document["components"]["schemas"].items()
    ]
    body = "".join([*operations, "<h1>Schemas</h1>", *schemas])
    found = (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{title}</title><style>{_STYLE}</style>"
        f"<h1>{title}</h1><p>{escape(document['info']['description'])}</p>"
        f"<p>For programs: <a href='{DOCUMENT}'>{DOCUMENT}</a></p>{body}</html>"
    )
    return found.encode()


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    parts = {name: operation[name] for name in ("parameters", "requestBody", "responses") if name in operation}
    heading = f"<h2><code>{method.upper()} {escape(path)}</code></h2>"
    return f"{heading}<p>{escape(operation.get('description', ''))}</p><details>{_code(parts)}</details>"


def _code(value: object) -> str:
    text = msgspec.json.format(msgspec.json.encode(value))
    return f"<pre>{escape(text.decode())}</pre>"
