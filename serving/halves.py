r"""Halves of characters in JSON: ``\ud83d`` alone is the first half of an emoji, as a text cut in the middle leaves it.

JSON's grammar allows them and no text holds them, so the decoder refuses the body around them as malformed, or as
truncated. Here they are found, so that the field is named, and left out, so that the rest of a batch can be read.
"""

import re

import msgspec

SOUGHT_BYTES = 1 << 20
"""In no more than so much are they looked for: pages wait meanwhile."""
MOST = 1000
"""So many are left out at most: a batch has no more records."""
SPACE = rb"\u0020"
NAMED_BYTES = 1 << 12
"""A field is named where its text ends so far from the beginning; what is sent to cost time is told the place alone."""
_HALF = rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
_PAIR = rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_WHOLE = rb"(?:[^\\]|%b|(?!%b)\\.)*+" % (_PAIR, _HALF)
_BEFORE = re.compile(b"(%b)%b" % (_WHOLE, _HALF), re.DOTALL)
_STRING = re.compile(rb'"((?:[^"\\]|\\.)*+)"\s*+(:?)', re.DOTALL)


def is_malformed(error: msgspec.DecodeError) -> bool:
    """Whether what was decoded is no JSON to the decoder; else it is JSON of another form than was wanted."""
    return not isinstance(error, msgspec.ValidationError)


def without_halves(text: bytes) -> bytes:
    """JSON with a space instead of each half of a character, written in as many bytes."""
    filled, read = bytearray(text), 0
    for _ in range(MOST):
        found = _first(text, read)
        if found is None:
            break
        filled[found.end(1) : found.end()], read = SPACE, found.end()
    return bytes(filled)


def half_of(text: bytes | msgspec.Raw) -> msgspec.DecodeError | None:
    """The error that names the first half of a character by its field and its place; None where there is none."""
    sent = bytes(text)
    found = _first(sent, 0)
    if found is None:
        return None
    at = found.end(1)
    field = _field(sent, at) if at < NAMED_BYTES else ""
    half = sent[at : at + 6].decode()
    return msgspec.DecodeError(f"{field or 'a text'} holds {half}, half of a character (byte {at})")


def _first(text: bytes, since: int) -> re.Match[bytes] | None:
    """The text up to a half of a character, and that half; from a place between characters on."""
    return _BEFORE.match(text, since) if len(text) <= SOUGHT_BYTES else None


def _field(text: bytes, at: int) -> str:
    """The name before the string that a byte lies in; empty where that is a name itself."""
    name = b""
    for string in _STRING.finditer(text):
        if string.end(1) > at:
            return "" if string[2] else name.decode()
        if string[2]:
            name = string[1]
    return name.decode()
