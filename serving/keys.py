"""Who may do what: keys with scopes, kept as hashes in one file of the home, read anew when it changes."""

import hashlib
import hmac
import ipaddress
import logging
import math
import os
import re
import secrets
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, get_args

import msgspec

from features.errors import HuozhaoError
from serving.clock import elapsed_ms

Scope = Literal["read", "events", "catalog", "admin"]
"""``read``: pages; ``events``: what people did; ``catalog``: items and people; ``admin``: all."""

_log = logging.getLogger(__name__)
FILE = "keys.json"
PREFIX = "hz_"
LOOK_EVERY_MS = 1000.0
"""How old what is known of the file may be: a key that was revoked is refused within it."""
Name = Annotated[str, msgspec.Meta(pattern="^[a-z0-9][a-z0-9._-]{0,63}$")]


class KeyFileError(HuozhaoError):
    """The file of keys cannot be read, or can be read by others."""


class UnauthorizedError(HuozhaoError):
    """A request has no key that is known."""


class ForbiddenError(HuozhaoError):
    """A request has a key that may not do this."""


class RateLimitedError(HuozhaoError):
    """A key asks more often than it may.

    ``retry_after_s`` is when to come again, in whole seconds.
    """

    def __init__(self, what: str, way_out: str, retry_after_s: int) -> None:
        super().__init__(what, way_out)
        self.retry_after_s = retry_after_s


class Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A key as it is kept: the SHA-256 of its 256 random bits, what it may do, and how often in a second.

    ``per_second`` 0 is as often as it likes.
    """

    name: Name
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    scopes: Annotated[tuple[Scope, ...], msgspec.Meta(min_length=1)]
    per_second: Annotated[float, msgspec.Meta(ge=0)] = 0.0


_KEYS = msgspec.json.Decoder(tuple[Key, ...])


def read(home: Path) -> tuple[Key, ...]:
    """The keys of a home, in the order they were added; none where it has no file of them.

    Raises
    ------
    KeyFileError
        If the file is damaged, or others than its owner can read or write it.
    """
    place = home / FILE
    try:
        with place.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise KeyFileError(f"{place} can be read by others than its owner.", f"Say `chmod 600 {place}`.")
            return _KEYS.decode(file.read())
    except FileNotFoundError:
        return ()
    except (OSError, msgspec.DecodeError) as error:
        raise KeyFileError(f"{place} cannot be read: {error}.", "Put it back from a copy, or add keys anew.") from error


def add(home: Path, name: str, scopes: Sequence[str], per_second: float = 0.0) -> str:
    """Make a key, keep its hash, and return it: it is shown this once.

    Raises
    ------
    KeyFileError
        If the name is taken or no name, a scope is none, or ``per_second`` is no number that a file can hold.
    """
    keys = read(home)
    if any(key.name == name for key in keys):
        raise KeyFileError(f"There is a key {name!r} already.", "Choose another name, or revoke that one first.")
    if not math.isfinite(per_second):
        # As JSON it would be null, and the file of keys could be read no more.
        raise KeyFileError(f"per_second is {per_second}.", "Give a number of requests, 0 for as often as it likes.")
    token = PREFIX + secrets.token_urlsafe(32)
    fields = {"name": name, "sha256": _hash(token), "scopes": list(dict.fromkeys(scopes)), "per_second": per_second}
    try:
        key = msgspec.convert(fields, Key)
    except msgspec.ValidationError as error:
        if "`$.name`" in str(error):
            way_out = "Names are of a-z, 0-9, '.', '_' and '-', and begin with a letter or a digit."
            raise KeyFileError(f"{name!r} is no name for a key.", way_out) from error
        way_out = f"Scopes are {', '.join(get_args(Scope))}."
        raise KeyFileError(f"A key cannot have the scopes {list(scopes)}: {error}.", way_out) from error
    _write(home, (*keys, key))
    return token


def revoke(home: Path, name: str) -> None:
    """Forget a key.

    Raises
    ------
    KeyFileError
        If there is none of that name.
    """
    keys = read(home)
    left = tuple(key for key in keys if key.name != name)
    if len(left) == len(keys):
        raise KeyFileError(f"There is no key {name!r}.", "See `huozhao keys list`.")
    _write(home, left)


def _write(home: Path, keys: Sequence[Key]) -> None:
    """Replace the file whole: who reads meanwhile sees the one or the other."""
    descriptor, draft = tempfile.mkstemp(prefix=".keys-", dir=home)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(keys)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        Path(draft).replace(home / FILE)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


class Bucket:
    """So many requests a second at most, and as many at once: a bucket of tokens that fills by itself."""

    def __init__(self, per_second: float) -> None:
        self._per_second, self._most = per_second, max(per_second, 1.0)
        self._held, self._at_ms = self._most, elapsed_ms()

    def take(self) -> float:
        """Take one; returns how many seconds until there is one, 0 if there was."""
        now_ms = elapsed_ms()
        self._held = min(self._most, self._held + (now_ms - self._at_ms) * self._per_second / 1e3)
        self._at_ms = now_ms
        if self._held < 1:
            return (1 - self._held) / self._per_second
        self._held -= 1
        return 0.0


class Door:
    """Lets requests in by their key. A home without a file of keys asks for none.

    A file that becomes unreadable changes nothing: the keys that were known go on.

    Parameters
    ----------
    home : Path
    any_host : bool
        Whether a home without keys answers whatever name it is asked by. A page of another site can have its own name
        lead to this machine, and its browser then takes our answers for that site's (DNS rebinding); it knows no key.
    """

    def __init__(self, home: Path, *, any_host: bool = True) -> None:
        self._home, self._any_host = home, any_host
        self._stamp: tuple[int, int, int] | None = None
        self._looked_ms = -LOOK_EVERY_MS
        self._keys: tuple[tuple[bytes, Key], ...] = ()
        self._buckets: dict[str, Bucket] = {}
        self._locked = False
        self.look()

    def look(self) -> None:
        """Read the file if it is another than before.

        Raises
        ------
        KeyFileError
        """
        self._looked_ms = elapsed_ms()
        try:
            found = (self._home / FILE).stat()
        except FileNotFoundError:
            found = None
        stamp = (found.st_ino, found.st_mtime_ns, found.st_size) if found else None
        if stamp == self._stamp:
            return
        keys = read(self._home)
        buckets = {key.name: Bucket(key.per_second) for key in keys if key.per_second}
        self._keys, self._buckets = tuple((bytes.fromhex(key.sha256), key) for key in keys), buckets
        # Once a home had keys, one that lost them all lets nobody in.
        self._stamp, self._locked = stamp, self._locked or found is not None

    def check(self, authorization: bytes, scope: Scope, host: bytes = b"") -> str:
        """The name of the key in ``Authorization: Bearer KEY`` if it may do this; empty where no key is asked for.

        Parameters
        ----------
        authorization : bytes
        scope : Scope
        host : bytes
            The header: whom the client thinks that it asks.

        Raises
        ------
        UnauthorizedError, ForbiddenError, RateLimitedError
        """
        if elapsed_ms() - self._looked_ms > LOOK_EVERY_MS:
            try:
                self.look()
            except KeyFileError as error:
                _log.error("%s The keys known before go on.", error)
        if not self._locked:
            if not (self._any_host or _is_nobodys(host)):
                what = "A server that asks for no key answers to its address and to localhost, and to no other name."
                raise ForbiddenError(what, "Ask it by its address, or add a key with `huozhao keys add`.")
            return ""
        key = self._known(authorization)
        if key is None:
            raise UnauthorizedError("This server asks for a key.", "Send `Authorization: Bearer KEY`.")
        if scope not in key.scopes and "admin" not in key.scopes:
            raise ForbiddenError(f"Key {key.name!r} has not the scope {scope}.", "Ask with another key.")
        wait_s = self._buckets[key.name].take() if key.name in self._buckets else 0.0
        if wait_s:
            what = f"Key {key.name!r} may ask {key.per_second:g} times a second."
            raise RateLimitedError(what, "Come again later.", max(1, math.ceil(wait_s)))
        return key.name

    def _known(self, authorization: bytes) -> Key | None:
        """Looks at every key, so that time tells nothing of which was nearest."""
        kind, _, token = authorization.partition(b" ")
        asked = hashlib.sha256(token.strip()).digest()
        found = None
        for digest, key in self._keys:
            if hmac.compare_digest(digest, asked):
                found = key
        return found if kind.lower() == b"bearer" else None


def _is_nobodys(host: bytes) -> bool:
    """Whether a host is none that could be another's by name: an address, localhost, or none."""
    name = re.sub(r":\d*$", "", host.decode("latin-1")).strip("[]").lower()
    if name in ("", "localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
