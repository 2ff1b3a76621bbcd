"""Calls of a server that may be busy, away for a moment, or killed half way: tried again, never past the caller's time.

Every operation of the contract may be asked again: events are known by their ids, rows of the catalog are whole.
"""

import http.client
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Self
from urllib.parse import urlsplit

import msgspec

from features.errors import HuozhaoError
from serving.api import Code
from serving.clock import elapsed_ms

AGAIN = (429, 503)
"""What a server answers that will do the same later."""
FIRST_WAIT_MS, LONGEST_WAIT_MS = 50.0, 2_000.0
IDLE_LINES = 16
"""How many connections are kept for the next call."""

_log = logging.getLogger(__name__)
_LUCK = random.Random()  # noqa: S311  # it spreads those who wait, and decides nothing else


class CallError(HuozhaoError):
    """A call came to nothing.

    ``code`` is the server's (None where it gave none that is known), ``status`` that of its answer, 0 where there was
    none; ``retry_after_s`` is when the server asked one to come again, 0 where it did not; ``tries`` is how often it
    was asked.
    """

    def __init__(
        self, what: str, way_out: str = "", code: Code | None = None, status: int = 0, retry_after_s: float = 0.0
    ) -> None:
        super().__init__(what, way_out)
        self.code, self.status, self.retry_after_s = code, status, retry_after_s
        self.tries = 1


class InvalidError(CallError):
    """The request is not as the contract wants it; asked again it will not be better."""


class KeyRefusedError(CallError):
    """The key is missing, unknown, or may not do this."""


class MissingError(CallError):
    """What was asked for is not there."""


class BusyError(CallError):
    """The server had no time for this before the caller's own was up."""


class UnavailableError(CallError):
    """The server could not do it: a fault of its own, or of its disk."""


class UnreachableError(UnavailableError):
    """No answer came before the caller's time was up; whether it was done is not known. To ask again is safe."""


BY_CODE: dict[Code, type[CallError]] = {
    Code.INVALID_REQUEST: InvalidError,
    Code.METHOD_NOT_ALLOWED: InvalidError,
    Code.TOO_LARGE: InvalidError,
    Code.UNSUPPORTED_MEDIA_TYPE: InvalidError,
    Code.RECORD_INVALID: InvalidError,
    Code.MOMENT_FAR: InvalidError,
    Code.UNAUTHORIZED: KeyRefusedError,
    Code.FORBIDDEN: KeyRefusedError,
    Code.NOT_FOUND: MissingError,
    Code.NOT_AVAILABLE: MissingError,
    Code.UNKNOWN_SURFACE: MissingError,
    Code.RATE_LIMITED: BusyError,
    Code.OVERLOADED: BusyError,
    Code.BUSY: BusyError,
    Code.INTERNAL: UnavailableError,
    Code.STOPPING: UnavailableError,
    Code.LOG_UNAVAILABLE: UnavailableError,
    Code.BUNDLE_UNAVAILABLE: UnavailableError,
    Code.POLICY_UNAVAILABLE: UnavailableError,
}
"""The error that a code becomes; a code of a later server becomes a ``CallError``."""


class Call(NamedTuple):
    """What is asked: the body is made anew for each try, from the milliseconds that are left."""

    method: str
    target: str
    body: Callable[[float], bytes] | None = None


class _Told(msgspec.Struct, frozen=True):
    """Of a problem what a program needs; its code may be of a later server."""

    detail: str
    code: str


@dataclass(frozen=True, slots=True)
class Server:
    """Where one asks, and what every request says; the key is in ``headers`` and in no ``repr``."""

    host: str
    port: int | None
    prefix: str
    is_secure: bool
    headers: Mapping[str, str] = field(repr=False)

    @classmethod
    def at(cls, address: str, key: str) -> Self:
        """The server of an address as ``http://127.0.0.1:8000``.

        Raises
        ------
        CallError
            If the address is none, or the key could not be a header.
        """
        try:
            found = urlsplit(address)
            port = found.port
        except ValueError:
            found, port = urlsplit(""), None
        if found.scheme not in ("http", "https") or not found.hostname:
            raise CallError(f"{address!r} is no address.", "Give one like http://127.0.0.1:8000.")
        if not (key.isascii() and key.isprintable()):
            raise CallError("The key has a character that no key has.", "Give it as `huozhao keys add` printed it.")
        headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
        return cls(found.hostname, port, found.path.rstrip("/"), found.scheme == "https", headers)


class Tries:
    """One call's tries: what time is left, and how long one waits before the next.

    Parameters
    ----------
    call : Call
    within_ms : float
        All the time there is, with all tries and waits.
    """

    def __init__(self, call: Call, within_ms: float) -> None:
        self.call = call
        self._due_ms = elapsed_ms() + within_ms
        self._count = 0

    def left_ms(self) -> float:
        """What time is left.

        Raises
        ------
        TimeoutError
            If there is none.
        """
        left_ms = self._due_ms - elapsed_ms()
        if left_ms <= 0:
            raise TimeoutError
        return left_ms

    def wait_s(self, error: CallError) -> float:
        """Seconds until the next try: twice as long each time, at least what the server asked for, not alike for all.

        Raises
        ------
        CallError
            The one that is given, if asking again would not help or would come too late.
        """
        self._count += 1
        error.tries = self._count
        grown_ms = min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2.0 ** (self._count - 1))
        wait_ms = max(grown_ms, 1e3 * error.retry_after_s) * _LUCK.uniform(1.0, 1.5)
        may_pass = isinstance(error, UnreachableError) or error.status in AGAIN
        if not may_pass or elapsed_ms() + wait_ms >= self._due_ms:
            raise error
        told = "%s %s: %s; again in %.0f ms"
        _log.info(told, self.call.method, self.call.target, error.code or "no answer", wait_ms)
        return wait_ms / 1e3


class Caller:
    """Asks one server, over connections that are kept; may be shared by threads.

    Parameters
    ----------
    server : Server
    sleep : callable
        Waits so many seconds.
    """

    def __init__(self, server: Server, sleep: Callable[[float], None] = time.sleep) -> None:
        self._server, self._sleep = server, sleep
        self._kind = http.client.HTTPSConnection if server.is_secure else http.client.HTTPConnection
        self._idle: deque[http.client.HTTPConnection] = deque(maxlen=IDLE_LINES)

    def close(self) -> None:
        """Close the connections that are kept."""
        while self._idle:
            self._idle.pop().close()

    def ask(self, call: Call, within_ms: float) -> bytes:
        """The body that answers a call, asked as often as there is time for.

        Parameters
        ----------
        call : Call
        within_ms : float
            All the time there is, with all tries and waits.

        Raises
        ------
        CallError
            Of the kind that the server's code stands for, or ``UnreachableError``.
        """
        tries = Tries(call, within_ms)
        while True:
            try:
                return self._once(tries)
            except CallError as error:
                self._sleep(tries.wait_s(error))

    def _once(self, tries: Tries) -> bytes:
        while True:
            line, is_fresh = self._line()
            try:
                return self._said(line, tries)
            except (OSError, http.client.HTTPException) as error:
                line.close()
                if is_fresh or isinstance(error, TimeoutError):
                    raise unreachable(tries.call, self._server, error) from error
                # A connection that was kept had been closed by the server: that says nothing of the server now.

    def _line(self) -> tuple[http.client.HTTPConnection, bool]:
        """A connection, and whether it is a new one."""
        try:
            return self._idle.pop(), False
        except IndexError:
            return self._kind(self._server.host, self._server.port), True

    def _said(self, line: http.client.HTTPConnection, tries: Tries) -> bytes:
        left_ms, call = tries.left_ms(), tries.call
        line.timeout = left_ms / 1e3
        if line.sock:
            line.sock.settimeout(line.timeout)
        body = call.body(left_ms) if call.body else None
        line.request(call.method, self._server.prefix + call.target, body, dict(self._server.headers))
        answer = line.getresponse()
        said = answer.read()
        if answer.will_close:
            line.close()
        else:
            self._idle.append(line)
        if answer.status != 200:
            raise refused(answer.status, said, answer.getheader("retry-after", ""))
        return said


def unreachable(call: Call, server: Server, error: Exception) -> UnreachableError:
    """The error that no answer stands for."""
    what = f"{call.method} {call.target} at {server.host}: no answer ({type(error).__name__})."
    return UnreachableError(what, "Ask again, or look whether the server runs.")


def refused(status: int, said: bytes, retry_after: str) -> CallError:
    """The error that an answer stands for."""
    try:
        told = msgspec.json.decode(said, type=_Told)
    except msgspec.DecodeError:
        told = _Told(f"The answer has status {status} and is none of this contract.", "")
    code = Code(told.code) if told.code in set(Code) else None
    kind = BY_CODE[code] if code else CallError
    return kind(told.detail, code=code, status=status, retry_after_s=float(retry_after) if retry_after.isdigit() else 0)
