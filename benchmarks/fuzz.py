"""Ten thousand requests that no client should send, over a socket: what is answered, and whether the contract knows it.

Each is drawn from the requests that the contract shows, and bent: other values, other bytes, other headers, paths and
methods, or nothing of HTTP at all. Seeded: the same requests each time.
"""

import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints
from urllib.parse import unquote, urlsplit

import msgspec

from benchmarks.bent import Sent, drawn
from benchmarks.crash import MARKET
from benchmarks.crash_load import ROOT
from benchmarks.market import NOW_MS, make_market
from benchmarks.report import Report, Row, quantiles
from serving.api import MEANINGS, MEDIA_TYPE, Code, Problem
from serving.contract import paths
from serving.hot import HEARD_OUT_BYTES
from serving.http import ROUTES
from serving.operations import OPERATIONS

REQUESTS, QUICK = 10_000, 1_000
HANG_S = 10.0
SHOWN = 5
"""How many faults of a sort are told in full."""
ANYWHERE = {Code.NOT_FOUND, Code.METHOD_NOT_ALLOWED}
WAYS = [(re.compile(re.sub(r"{\w+}", "[^/]+", way.path)), way.method.upper(), way.handler) for way in paths(ROUTES)]


class Heard(NamedTuple):
    """An answer: its status (0: the server closed without one), type and body, and how long it took."""

    status: int
    media_type: str
    body: bytes
    took_ms: float


def run(*, quick: bool) -> Report:
    """Ten thousand requests (one thousand when quick) to a server of a small market."""
    return measure(QUICK if quick else REQUESTS)


def measure(requests: int) -> Report:
    """The first so many of the requests."""
    report = Report("fuzz")
    heard: dict[str, list[Heard]] = {}
    counts: Counter[str] = Counter()
    draw = random.Random(20)  # noqa: S311  # a load
    with tempfile.TemporaryDirectory() as folder:
        home, said = Path(folder) / "home", Path(folder) / "said"
        make_market(home, MARKET)
        with _serving(home, said) as address:
            for number in range(requests):
                sent = drawn(draw, number, NOW_MS)
                try:
                    answer = ask(address, sent.wire, cut=sent.cut)
                except TimeoutError:
                    _tell(report, counts, "hangs", sent, "no answer")
                    continue
                heard.setdefault(sent.sort, []).append(answer)
                if fault := judge(sent, answer):
                    _tell(report, counts, "server_errors" if answer.status >= 500 else "unknown_answers", sent, fault)
            after = ask(address, b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        told = said.read_text("utf-8", "replace")
        counts["tracebacks"] = told.count("Traceback")
    if after.status != 200 or counts["tracebacks"]:
        report.faults.append(
            f"after it all: {after.status} {after.body[:200]!r}; the log: {told[told.find('Traceback') :][:3000]}"
        )
    names = ("server_errors", "hangs", "tracebacks", "unknown_answers")
    report.ratios |= {f"fuzz.{name}": float(counts[name]) for name in names}
    report.rows = [_row(sort, answers) for sort, answers in sorted(heard.items())]
    return report


def ask(address: tuple[str, int], wire: bytes, *, cut: bool = False) -> Heard:
    """Send bytes as they are, and no more where they are cut, and read until the server closes.

    Raises
    ------
    TimeoutError
        If it neither answers nor closes.
    """
    started = time.perf_counter()
    parts: list[bytes] = []
    with socket.create_connection(address, timeout=HANG_S) as line:
        try:
            line.sendall(wire)
            if cut:
                line.shutdown(socket.SHUT_WR)
            while part := line.recv(1 << 16):
                parts.append(part)
        except (ConnectionResetError, BrokenPipeError):
            """It closed before it had read all: what it said before counts."""
    took_ms = 1e3 * (time.perf_counter() - started)
    said = b"".join(parts).removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
    head, _, body = said.partition(b"\r\n\r\n")
    found = re.match(rb"HTTP/1\.1 (\d{3})", head)
    media_type = re.search(rb"\r\ncontent-type: *([^\r;]+)", head, re.IGNORECASE)
    return Heard(int(found[1]) if found else 0, media_type[1].decode() if media_type else "", body, took_ms)


def judge(sent: Sent, answer: Heard) -> str:
    """What of an answer the contract does not know; empty where it knows it all."""
    if answer.status == 0:
        return "" if sent.cut or len(sent.wire) > HEARD_OUT_BYTES else "closed without an answer"
    if answer.status == 400 and answer.media_type == "text/plain" and sent.odd:
        # The HTTP parser's own word.
        return ""
    if sent.method in ("OPTIONS", "HEAD") and answer.status in (204, 400, 404, 405):
        return ""
    path = unquote(urlsplit(sent.path).path)
    handler = next((of for pattern, method, of in WAYS if method == sent.method and pattern.fullmatch(path)), None)
    if answer.status == 200:
        return _read(answer.body, get_type_hints(handler.fn)["return"]) if handler else _of_schema(sent, answer)
    if answer.media_type != MEDIA_TYPE:
        return f"{answer.status} of {answer.media_type!r}"
    if fault := _read(answer.body, Problem):
        return fault
    problem = msgspec.json.decode(answer.body, type=Problem)
    known = ANYWHERE | set(OPERATIONS[handler.fn.__name__].codes) if handler else set(Code)
    if (problem.status, problem.status) != (answer.status, MEANINGS[problem.code].status):
        return f"{problem.code} with status {answer.status}"
    return "" if problem.code in known and answer.status < 500 else f"{answer.status} {problem.code}: {problem.detail}"


def _of_schema(sent: Sent, answer: Heard) -> str:
    of_schema = sent.path in ("/schema", "/schema/openapi.json") and sent.method == "GET"
    return "" if of_schema else f"200 for {sent.method} {sent.path}: {answer.body[:100]!r}"


def _read(body: bytes, type_: Any) -> str:  # noqa: ANN401  # what a handler answers
    if type_ is str:
        # Plain text, which every body is.
        return ""
    try:
        msgspec.json.decode(body, type=type_)
    except msgspec.DecodeError as error:
        return f"not a {type_.__name__}: {error}"
    return ""


def _tell(report: Report, counts: Counter[str], what: str, sent: Sent, fault: str) -> None:
    counts[what] += 1
    if counts[what] <= SHOWN:
        report.faults.append(f"{what}: {sent.sort}: {sent.wire[:300]!r}: {fault[:300]}")


def _row(sort: str, answers: list[Heard]) -> Row:
    by_status = Counter(answer.status for answer in answers)
    told = ", ".join(f"{status or 'closed'}: {count}" for status, count in sorted(by_status.items()))
    return {"system": sort, "requests": len(answers), "answers": told, **quantiles([one.took_ms for one in answers])}


@contextmanager
def _serving(home: Path, said: Path) -> Iterator[tuple[str, int]]:
    """A server whose log goes to a file, and where it answers; told to stop at the end."""
    command = [sys.executable, "-m", "benchmarks.crash_load", str(home), str(NOW_MS)]
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    with said.open("w") as log, subprocess.Popen(
        command, env=environ, stdout=subprocess.PIPE, stderr=log, text=True
    ) as process:  # fmt: skip
        if process.stdout is None:
            raise RuntimeError("The server has no pipe.")
        try:
            host, _, port = process.stdout.readline().strip().removeprefix("http://").rpartition(":")
            yield host, int(port)
        finally:
            process.terminate()
            process.wait(timeout=60)
