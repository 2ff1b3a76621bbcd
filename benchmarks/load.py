"""Load from outside: requests sent when they are due, however the server fares, and timed from when they were due.

The generator has a process and, where the system can pin, a core of its own. It spins on its sockets, so that it is
never late for a reason of its own: ``lag_ms`` says how late it came to requests that were due, and a run whose 99th
percentile of lag passes ``MAX_LAG_MS`` is void. It is the 99th since what is late counts as slow: times run from when
a request was due, so lag makes a server look slower, never faster; the most and the share beyond are told beside it.
A request that finds no idle connection waits for one; that wait is the server's doing, and counts.
"""

import gc
import multiprocessing
import os
import re
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import Row, quantiles
from features.types import BoolArray, DoubleArray, IntArray

MAX_LAG_MS = 5.0
SERVER_CORE, LOAD_CORE = 0, 1
TIMEOUT_S = 30.0
SPIN_S = 0.002
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
# Where answers arrive: room made anew for each would be mapped and cleared by the kernel every time.
_ROOM = memoryview(bytearray(1 << 18))
_ACCEPTED = b'"accepted"'
_LEVEL = re.compile(rb'"level":"([a-z]+)"')
_ITEM = re.compile(rb'"item_id":"([^"]*)"')


class Ask(NamedTuple):
    """A request as it goes over the wire; ``kind`` sorts the answers, ``ends`` are rooms that its answer ends."""

    kind: str
    wire: bytes
    ends: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Heard:
    """What came of asks, in the order they were answered: times in seconds since the run began.

    kind (n,) str; due and done (n,) float64; status, items and accepted (n,) int64: how many items a page holds and
    how many records were taken; level (n,) str, the rung of a page, empty where there is none; lag_ms (n,) float64;
    ``dead`` names rooms shown after their end was acknowledged; ``began`` is when, by ``time.perf_counter``.
    """

    kind: NDArray[np.str_]
    due: DoubleArray
    done: DoubleArray
    status: IntArray
    items: IntArray
    accepted: IntArray
    level: NDArray[np.str_]
    lag_ms: DoubleArray
    dead: tuple[str, ...]
    began: float = 0.0

    @property
    def whole(self) -> BoolArray:
        """Which answers are pages of the first rung."""
        whole: BoolArray = self.level == "full"
        return whole

    @property
    def is_void(self) -> bool:
        """Whether the generator was too late itself for the times to mean anything."""
        return bool(np.quantile(self.lag_ms, 0.99) > MAX_LAG_MS)

    def took_ms(self, kind: str) -> DoubleArray:
        """Milliseconds from when each ask of a kind was due to its whole answer."""
        of_kind = self.kind == kind
        took: DoubleArray = 1e3 * (self.done[of_kind] - self.due[of_kind])
        return took

    def row(self, system: str, kind: str) -> Row:
        """The figures of a kind."""
        took = self.took_ms(kind)
        rate = len(took) / float(self.done.max() - self.due.min())
        late = np.quantile(self.lag_ms, [0.99, 1.0]).tolist()
        beyond = float(np.mean(self.lag_ms > MAX_LAG_MS))
        lag: Row = {"lag_p99_ms": late[0], "lag_max_ms": late[1], "lag_past_5_ms_share": beyond}
        return {
            "system": system,
            "requests": len(took),
            "per_second": rate,
            **quantiles(took.tolist()),
            **lag,
            "void": str(self.is_void),
        }

    def faults(self, items: int) -> list[str]:
        """What was wrong with the answers; a page has so many items."""
        wrong = [f"{int((self.status != 200).sum())} answers were not 200"] if (self.status != 200).any() else []
        short = int((self.items[self.kind == "feed"] != items).sum())
        wrong += [f"{short} pages did not hold {items} items"] if short else []
        return wrong + [f"room {name} was shown after its end was acknowledged" for name in self.dead[:5]]


def request(method: str, path: str, body: bytes = b"") -> bytes:
    """A whole HTTP/1.1 request on a connection that is kept."""
    head = (
        f"{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    )
    return f"{head}\r\n\r\n".encode() + body


def poisson(rate: float, seconds: float, seed: int) -> DoubleArray:
    """When requests of independent people are due, in seconds, at so many a second."""
    gaps = np.random.default_rng(seed).exponential(1 / rate, int(rate * seconds))
    return np.cumsum(gaps)


def steady(rate: float, seconds: float) -> DoubleArray:
    """When requests of an even stream are due."""
    due: DoubleArray = np.arange(int(rate * seconds)) / rate
    return due


def load(address: str, asks: Sequence[Ask], due: DoubleArray | None, connections: int) -> Heard:
    """Send asks when they are due, or each as soon as a connection is idle where ``due`` is None.

    Parameters
    ----------
    address : str
        ``http://host:port``.
    asks : sequence of Ask
    due : (n,) float64, optional
        Seconds since the run begins, sorted.
    connections : int
        How many are kept open.

    Returns
    -------
    Heard
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    generator = context.Process(target=_generate, args=(theirs.send, address, asks, due, connections))
    generator.start()
    theirs.close()
    try:
        heard = ours.recv()
    except EOFError as error:
        raise RuntimeError("The generator ended without a word.") from error
    finally:
        generator.join()
    if not isinstance(heard, Heard):
        raise TypeError(f"The generator failed: {heard}")
    return heard


def by_second(moments: DoubleArray, counts: IntArray) -> IntArray:
    """Sums of counts (n,) by the second that their moments (n,) are of, without the last, which is cut off."""
    seconds = moments.astype(np.int64)
    summed: IntArray = np.bincount(seconds, counts)[: int(seconds.max())].astype(np.int64)
    return summed


def pin(core: int) -> bool:
    """Keep this process on a core; false where the system cannot, or has only one."""
    if not hasattr(os, "sched_setaffinity") or (os.cpu_count() or 1) < 2:
        return False
    os.sched_setaffinity(0, {core})
    return True


def _generate(
    send: Callable[[object], None], address: str, asks: Sequence[Ask], due: DoubleArray | None, connections: int
) -> None:
    pin(LOAD_CORE)
    # Nothing here is ever thrown away in circles, and looking for it would make what is due late.
    gc.disable()
    try:
        with _lines(address, connections) as lines:
            send(_Run(lines, asks, due).run())
    except (OSError, ValueError, TimeoutError) as error:
        send(f"{type(error).__name__}: {error}")


class _Line:
    """A connection, and what has come of the answer it waits for."""

    def __init__(self, host: str, port: int) -> None:
        self.socket = socket.create_connection((host, port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.ask = -1
        self.sent = 0.0
        self._read = bytearray()
        self._whole = 0

    def send(self, wire: bytes) -> None:
        self._read.clear()
        self._whole = 0
        rest = memoryview(wire)
        while rest:
            try:
                rest = rest[self.socket.send(rest) :]
            except BlockingIOError:
                continue

    def read(self) -> bytearray | None:
        """The whole answer, once it is there."""
        got = self.socket.recv_into(_ROOM)
        if not got:
            raise ConnectionError("The server closed a connection that was to be kept.")
        self._read += _ROOM[:got]
        if not self._whole and (end := self._read.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self._read, 0, end)
            if length is None:
                raise ValueError(f"An answer has no length: {bytes(self._read[:end])!r}")
            self._whole = end + 4 + int(length[1])
        return self._read if self._whole and len(self._read) >= self._whole else None


@contextmanager
def _lines(address: str, connections: int) -> Iterator[list[_Line]]:
    host, _, port = address.removeprefix("http://").rpartition(":")
    lines = [_Line(host, int(port)) for _ in range(connections)]
    try:
        yield lines
    finally:
        for line in lines:
            line.socket.close()


class _Run:
    """One run: asks go out in order, answers come back as they will."""

    def __init__(self, lines: list[_Line], asks: Sequence[Ask], due: DoubleArray | None) -> None:
        self._asks, self._due = asks, due
        self._idle = deque(lines)
        self._selector = selectors.DefaultSelector()
        for line in lines:
            self._selector.register(line.socket, selectors.EVENT_READ, line)
        self._heard: list[tuple[int, float, float, int, int, int, str]] = []
        self._lag: list[float] = []
        self._ended: dict[bytes, float] = {}
        self._dead: list[str] = []

    def run(self) -> Heard:
        due = np.zeros(len(self._asks)) if self._due is None else self._due
        times = due.tolist()
        self._start = start = time.perf_counter()
        ready = following = 0
        heard_at = 0.0
        while len(self._heard) < len(self._asks):
            now = time.perf_counter() - start
            while self._due is not None and ready < len(times) and times[ready] <= now:
                self._lag.append(1e3 * (now - times[ready]))
                ready += 1
            while self._idle and following < (len(times) if self._due is None else ready):
                self._send(following)
                following += 1
            for key, _ in self._selector.select(self._rest(times, ready, now)):
                self._answer(key.data)
                heard_at = now
            if now - max(heard_at, times[following - 1] if following else 0.0) > TIMEOUT_S:
                raise TimeoutError(f"No answer for {TIMEOUT_S} s.")
        return self._result(due)

    def _rest(self, times: list[float], ready: int, now: float) -> float:
        """How long to wait for answers: a core that sleeps takes its time to wake, and so what is near is spun for.

        Where each ask follows an answer there is always one near.
        """
        if self._due is None:
            return 0.0
        return max(times[ready] - now - SPIN_S, 0.0) if ready < len(times) else 1.0

    def _send(self, at: int) -> None:
        line = self._idle.popleft()
        line.ask, line.sent = at, time.perf_counter() - self._start
        line.send(self._asks[at].wire)

    def _answer(self, line: _Line) -> None:
        answer = line.read()
        if answer is None:
            return
        now, ask = time.perf_counter() - self._start, self._asks[line.ask]
        self._idle.append(line)
        for room in ask.ends:
            self._ended[room] = now
        shown = _ITEM.findall(answer) if ask.kind == "feed" else ()
        self._dead += [room.decode() for room in shown if self._ended.get(room, line.sent) < line.sent]
        accepted = 0 if ask.kind == "feed" else answer.count(_ACCEPTED)
        rung = _LEVEL.search(answer) if shown else None
        level = rung[1].decode() if rung else ""
        self._heard.append((line.ask, line.sent, now, int(answer[9:12]), len(shown), accepted, level))

    def _result(self, due: DoubleArray) -> Heard:
        columns = (np.array(column) for column in zip(*self._heard, strict=True))
        asked, sent, done, status, items, accepted, level = columns
        return Heard(
            kind=np.array([self._asks[at].kind for at in asked.tolist()]),
            due=sent if self._due is None else due[asked],
            done=done,
            status=status,
            items=items,
            accepted=accepted,
            level=level,
            lag_ms=np.array(self._lag or [0.0]),
            dead=tuple(self._dead),
            began=self._start,
        )
