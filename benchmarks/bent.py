"""Requests that no client should send, made from those that the contract shows: bent in one way or several."""

import json
import random
import re
from collections.abc import Callable
from copy import deepcopy
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from serving.contract import document
from serving.examples import TS_MS
from serving.http import ROUTES


class Plain(NamedTuple):
    """A request as the contract shows it."""

    method: str
    path: str
    query: dict[str, Any]
    body: Any


class Sent(NamedTuple):
    """A request as it goes over the wire.

    ``path`` is without its query. ``odd``: the HTTP parser may refuse it with a plain line. ``cut``: it is not whole
    HTTP, so that nothing more is sent after it, and a server may close without a word.
    """

    sort: str
    method: str
    path: str
    wire: bytes
    odd: bool = False
    cut: bool = False


def _shown() -> tuple[Plain, ...]:
    found: list[Plain] = []
    for path, item in document(ROUTES)["paths"].items():
        for method, operation in item.items():
            given = {one["name"]: one["example"] for one in operation["parameters"]}
            query = {one["name"]: one["example"] for one in operation["parameters"] if one["in"] == "query"}
            content = operation.get("requestBody", {}).get("content", {}).get("application/json", {"examples": {}})
            bodies = [one["value"] for one in content["examples"].values()] or [None]
            found += [Plain(method.upper(), path.format(**given), query, body) for body in bodies]
    return tuple(found)


SHOWN = _shown()
WITH_BODY = tuple(plain for plain in SHOWN if plain.body is not None)
WITH_NAMES = tuple(plain for plain in SHOWN if plain.body is None)
RAW = "\0raw:"
"""Begins a text that stands in JSON as it is, without its quotes."""
HOSTILE: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**53 + 1, 2**63, 2**64, 2**70, -(2**70), 0.5, -0.0, 1e308, 5e-324,
    *(RAW + text for text in ("1e400", "-1e400", "NaN", "Infinity", "1e999999999", "01", "1.", "+1", "0x10",
    "1" * 5000)),
    "", " ", "\0", "a\0b", "\x7f", "\u202e", "\ufeff", "é" * 64, "货" * 128, "😀" * 512, "x" * 129, "x" * 100_000,
    "../../etc/passwd",
    "%s%n{0}{a.__class__}", "'; DROP TABLE log;--", "__proto__", "nan", "current", "event", "control", "served",
    "erase",
    RAW + '"\\ud800"', RAW + '"\\udc00\\ud800"', RAW + '"\\u0000"', RAW + '"\\x"', RAW + '"\n"',
    [], {}, [[]], [None] * 1_001, {"a": {"a": {"a": {}}}}, {"": ""}, [1, "1", None],
)  # fmt: skip
BAD_BYTES = (
    b"\xff",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"\xf5\x80\x80\x80",
    b"\xef\xbb\xbf",
    b"\0",
    b"\x1b[2J",
    b"\r\n",
    b'"',
)
VERBS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "PROPFIND", "get", "G", "CONNECT")
TYPES = (
    "", "text/plain", "application/xml", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
    "application/msgpack", "application/json; charset=latin-1", "APPLICATION/JSON", "application/json,text/plain", ";",
    "application/json" + " " * 300, "*/*", "application/jsonp",
)  # fmt: skip
PATHS = (
    "/", "//", "/v1", "/v1/", "/v2/feed", "/v1/feed/", "/v1//feed", "/v1/feed/..", "/v1/./feed", "/v1/%66eed",
    "/v1/feed%00",
    "/v1/items/%2F", "/v1/items/%00", "/v1/items/..", "/v1/items/%2e%2e", "/v1/items/%ff%fe/similar",
    "/v1/items/%F0%9F%98%80",
    "/v1/items/" + "x" * 129, "/v1/items/" + "x" * 8_000, "/v1/items//similar", "/v1/items/%zz", "/v1/feeds/%",
    "/schema",
    "/schema/", "/schema/openapi.json", "/schema/../v1/feed", "/healthz?", "/v1/users/%0d%0aset-cookie:a", "*",
    "http://elsewhere/v1/feed", "/v1/items/i1/similar/more", "/V1/FEED", "/v1/feed;a=b", "/v1/feed#a",
)  # fmt: skip
VALUES = (
    "",
    "0",
    "-1",
    "201",
    "1e400",
    "NaN",
    "+1",
    " 1",
    "1 ",
    "1.0",
    "0x1",
    "1" * 400,
    "\0",
    "\ud7ff",
    "true",
    "maybe",
    "x" * 129,
)


def drawn(draw: random.Random, number: int, now_ms: int) -> Sent:
    """The request of a number; most are bent bodies, since most of what is read is."""
    ways: tuple[tuple[int, Callable[[random.Random, int], Sent]], ...] = (
        (40, _values), (15, _bytes), (5, _deep), (8, _types), (12, _names), (10, _paths),
        (5, _verbs), (4, _framed), (1, _noise),
    )  # fmt: skip
    if number % 2_000 == 99:
        return _oversize(draw)
    [way] = draw.choices([way for _, way in ways], [weight for weight, _ in ways])
    return way(draw, now_ms)


def _wire(
    method: str, target: str, body: bytes | None = None, media_type: str = "application/json", more: str = ""
) -> bytes:
    head = f"{method} {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{more}"
    if body is not None:
        head += f"content-length: {len(body)}\r\n" + (f"content-type: {media_type}\r\n" if media_type else "")
    return head.encode("utf-8", "surrogatepass") + b"\r\n" + (body or b"")


def _text(value: Any) -> bytes:  # noqa: ANN401  # any JSON
    text = json.dumps(value, ensure_ascii=False)
    return re.sub(r'"\\u0000raw:((?:[^"\\]|\\.)*)"', lambda found: json.loads(f'"{found[1]}"'), text).encode()


def _target(plain: Plain) -> str:
    return plain.path + (f"?{urlencode(plain.query)}" if plain.query else "")


def _now(body: Any, now_ms: int) -> Any:  # noqa: ANN401
    """A body as the contract shows it, at the server's time."""
    return json.loads(json.dumps(body).replace(str(TS_MS), str(now_ms)))


def _bent(draw: random.Random, value: Any) -> Any:  # noqa: ANN401
    """A JSON value with one place in it made another."""
    if not isinstance(value, dict | list) or not value or draw.random() < 0.1:
        return deepcopy(draw.choice(HOSTILE))
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key, kind = draw.choice(keys), draw.random()
    if kind < 0.75:
        value[key] = _bent(draw, value[key])
    elif kind < 0.85:
        del value[key]
    elif isinstance(value, list):
        value += [deepcopy(one) for one in value for _ in range(draw.choice((1, 299)))]
    else:
        value[draw.choice(("type", "extra", "", "\0", "user_id", "target"))] = deepcopy(draw.choice(HOSTILE))
    return value


def _values(draw: random.Random, now_ms: int) -> Sent:
    plain = draw.choice(WITH_BODY)
    body = _now(plain.body, now_ms)
    for _ in range(draw.choice((0, 1, 1, 1, 2, 4))):
        body = _bent(draw, body)
    return Sent("values", plain.method, plain.path, _wire(plain.method, plain.path, _text(body)))


def _bytes(draw: random.Random, now_ms: int) -> Sent:
    plain = draw.choice(WITH_BODY)
    body = bytearray(_text(_now(plain.body, now_ms)))
    for _ in range(draw.choice((1, 1, 3, 10))):
        at, kind = draw.randrange(len(body) + 1), draw.random()
        if kind < 0.4:
            body[at:at] = draw.choice(BAD_BYTES)
        elif kind < 0.6:
            body[at : at + 1] = bytes([draw.randrange(256)])
        elif kind < 0.8:
            del body[at : at + draw.choice((1, 10))]
        else:
            del body[at:]
    return Sent("bytes", plain.method, plain.path, _wire(plain.method, plain.path, bytes(body)))


def _deep(draw: random.Random, _: int) -> Sent:
    plain, levels = draw.choice(WITH_BODY), draw.choice((5, 31, 32, 33, 500, 990, 1_000, 5_000, 100_000))
    opening, closing = draw.choice(((b"[", b"]"), (b'{"a":', b"}"), (b'[{"attributes":', b"}]"), (b'{"seen":[', b"]}")))
    closed = closing * levels if draw.random() < 0.7 else b""
    prefix, suffix = draw.choice(
        ((b"", b""), (b"[", b"]"), (b'[{"item_id":"a","ts_ms":1,"kind":"video","attributes":', b"}]"))
    )
    body = prefix + opening * levels + draw.choice((b"", b"1", b"null")) + closed + suffix
    return Sent("nesting", plain.method, plain.path, _wire(plain.method, plain.path, body))


def _types(draw: random.Random, now_ms: int) -> Sent:
    plain = draw.choice(WITH_BODY)
    body = draw.choice((_text(_now(plain.body, now_ms)), b"", b"a=b", b"--x--", b"\x80"))
    return Sent("types", plain.method, plain.path, _wire(plain.method, plain.path, body, draw.choice(TYPES)))


def _names(draw: random.Random, _: int) -> Sent:
    """Parameters, in the query and in the path."""
    plain = draw.choice(WITH_NAMES)
    query = [
        (name, draw.choice((*VALUES, value)))
        for name, value in plain.query.items()
        for _ in range(draw.choice((0, 1, 1, 2)))
    ]
    text = (
        urlencode(query)
        if draw.random() < 0.8
        else draw.choice(("%", "&&&=", "k=%ff", "k[]=1", "k", "a" * 9_000, "=&=", "k=1;k=2"))
    )
    path = (
        plain.path
        if draw.random() < 0.5
        else re.sub(r"/(i\d+|u\d+|page)\b", "/" + quote(draw.choice(VALUES[3:])), plain.path)
    )
    return Sent("parameters", plain.method, path, _wire(plain.method, f"{path}?{text}"), odd=True)


def _paths(draw: random.Random, _: int) -> Sent:
    method, path = draw.choice(("GET", "POST", "DELETE", "PUT")), draw.choice(PATHS)
    body = draw.choice((None, b"{}", b"[]"))
    return Sent("paths", method, path.partition("?")[0], _wire(method, path, body), odd=True)


def _verbs(draw: random.Random, now_ms: int) -> Sent:
    plain, verb = draw.choice(SHOWN), draw.choice(VERBS)
    body = None if plain.body is None else _text(_now(plain.body, now_ms))
    return Sent("methods", verb, plain.path, _wire(verb, _target(plain), body), odd=True)


def _framed(draw: random.Random, now_ms: int) -> Sent:
    """Bodies in chunks, whole, cut and wrong; lengths that lie; heads that are too large."""
    plain = draw.choice(WITH_BODY)
    body = _text(_now(plain.body, now_ms))
    parts = [body[at : at + 7] for at in range(0, len(body), 7)]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
    chunked, typed = "transfer-encoding: chunked\r\n", "content-type: application/json\r\n"
    wire = draw.choice((
        _wire(plain.method, plain.path, more=chunked + typed) + chunks + b"0\r\n\r\n",
        _wire(plain.method, plain.path, more=chunked + typed) + chunks,
        _wire(plain.method, plain.path, more=chunked + typed) + b"zz\r\n" + chunks,
        _wire(plain.method, plain.path, more=chunked + typed) + b"ffffffffffffffff\r\n" + body,
        _wire(plain.method, plain.path, more=typed + f"content-length: {len(body) + 9}\r\n") + body,
        _wire(plain.method, plain.path, more=typed + f"content-length: {len(body) - 9}\r\n") + body,
        _wire(plain.method, plain.path, more=typed + "content-length: -1\r\n") + body,
        _wire(plain.method, plain.path, more=typed + "content-length: 1\r\ncontent-length: 2\r\n") + body,
        _wire(plain.method, plain.path, body, more="expect: 100-continue\r\n"),
        _wire(plain.method, plain.path, body, more=f"x: {'y' * draw.choice((1_000, 70_000))}\r\n"),
        _wire(plain.method, plain.path, body, more="x: y\r\n" * 2_000),
        _wire(plain.method, plain.path, body, more="authorization: Bearer \x7f\r\nhost: other\r\n"),
        _wire(plain.method, plain.path, body)[: draw.randrange(1, 60)],
    ))  # fmt: skip
    return Sent("framing", plain.method, plain.path, wire, odd=True, cut=True)


def _noise(draw: random.Random, _: int) -> Sent:
    wire = draw.choice(
        (b"\x16\x03\x01\x02\x00", b"\r\n\r\n", b"GET\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", draw.randbytes(200))
    )
    return Sent("noise", "", "", wire, odd=True, cut=True)


def _oversize(draw: random.Random) -> Sent:
    plain = draw.choice(WITH_BODY)
    return Sent("oversize", plain.method, plain.path, _wire(plain.method, plain.path, b" " * (17 << 20)), odd=True)
