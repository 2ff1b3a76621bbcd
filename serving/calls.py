"""Calls of a server that may be busy, away for a moment, or killed half way: tried again, never past the caller's time.

Every operation of the contract may be asked again: events are known by their ids, rows of the catalog are whole.
"""

import http.client
import logging
import random
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple
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
    Code.RATE_LIMITED: BusyError,
    Code.OVERLOADED: BusyError,
    Code.BUSY: BusyError,
    Code.INTERNAL: UnavailableError,
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


class Caller:
    """Asks one server, over connections that are kept; may be shared by threads.

    Parameters
    ----------
    address : str
        As ``http://127.0.0.1:8000``.
    key : str
        Sent as ``Authorization: Bearer KEY`` and nowhere told; empty where the server asks for none.
    sleep : callable
        Waits so many seconds.

    Raises
    ------
    CallError
        If the address is none, or the key could not be a header.
    """

    def __init__(self, address: str, key: str = "", sleep: Callable[[float], None] = time.sleep) -> None:
        found = urlsplit(address)
        if found.scheme not in ("http", "https") or not found.hostname:
            raise CallError(f"{address!r} is no address.", "Give one like http://127.0.0.1:8000.")
        if not (key.isascii() and key.isprintable()):
            raise CallError("The key has a character that no key has.", "Give it as `huozhao keys add` printed it.")
        self._kind = http.client.HTTPSConnection if found.scheme == "https" else http.client.HTTPConnection
        self._host, self._port, self._prefix = found.hostname, found.port, found.path.rstrip("/")
        self._headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
        self._sleep = sleep
        self._idle: deque[http.client.HTTPConnection] = deque(maxlen=IDLE_LINES)
        # Luck that spreads those who wait: it decides nothing else.
        self._draw = random.Random()  # noqa: S311

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
        due_ms, tries = elapsed_ms() + within_ms, 0
        while True:
            tries += 1
            try:
                return self._once(call, due_ms)
            except CallError as error:
                error.tries = tries
                wait_ms = self._wait_ms(tries, error)
                may_pass = isinstance(error, UnreachableError) or error.status in AGAIN
                if not may_pass or elapsed_ms() + wait_ms >= due_ms:
                    raise
                _log.info("%s %s: %s; again in %.0f ms", call.method, call.target, error.code or "no answer", wait_ms)
                self._sleep(wait_ms / 1e3)

    def _wait_ms(self, tries: int, error: CallError) -> float:
        """Twice as long each time, at least what the server asked for, and not the same for all who wait."""
        grown_ms = min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2.0 ** (tries - 1))
        return max(grown_ms, 1e3 * error.retry_after_s) * self._draw.uniform(1.0, 1.5)

    def _once(self, call: Call, due_ms: float) -> bytes:
        while True:
            line, is_fresh = self._line()
            try:
                return self._said(line, call, due_ms)
            except (OSError, http.client.HTTPException) as error:
                line.close()
                if is_fresh or isinstance(error, TimeoutError):
                    what = f"{call.method} {call.target} at {self._host}: no answer ({type(error).__name__})."
                    raise UnreachableError(what, "Ask again, or look whether the server runs.") from error
                # A connection that was kept had been closed by the server: that says nothing of the server now.

    def _line(self) -> tuple[http.client.HTTPConnection, bool]:
        """A connection, and whether it is a new one."""
        try:
            return self._idle.pop(), False
        except IndexError:
            return self._kind(self._host, self._port), True

    def _said(self, line: http.client.HTTPConnection, call: Call, due_ms: float) -> bytes:
        left_ms = due_ms - elapsed_ms()
        if left_ms <= 0:
            raise TimeoutError
        line.timeout = left_ms / 1e3
        if line.sock:
            line.sock.settimeout(line.timeout)
        body = call.body(left_ms) if call.body else None
        line.request(call.method, self._prefix + call.target, body, self._headers)
        answer = line.getresponse()
        said = answer.read()
        if answer.will_close:
            line.close()
        else:
            self._idle.append(line)
        if answer.status != 200:
            raise _refused(answer.status, said, answer.getheader("retry-after", ""))
        return said


def _refused(status: int, said: bytes, retry_after: str) -> CallError:
    """The error that an answer stands for."""
    try:
        told = msgspec.json.decode(said, type=_Told)
    except msgspec.DecodeError:
        told = _Told(f"The answer has status {status} and is none of this contract.", "")
    code = Code(told.code) if told.code in set(Code) else None
    kind = BY_CODE[code] if code else CallError
    return kind(told.detail, code=code, status=status, retry_after_s=float(retry_after) if retry_after.isdigit() else 0)
