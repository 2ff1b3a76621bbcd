"""What a power cut would take: the write-ahead file cut anywhere, and the calls of a traced server in their order."""

import json
import math
import re
import shutil
import time
import urllib.request
from pathlib import Path

from benchmarks.crash_load import serving
from features.logs.live import HomeLog
from features.logs.log import DAY_MS
from features.records import Action, Event

HEADER, FRAME = 32, 24 + 4096
"""Bytes of a write-ahead file's head, and of a frame with its page."""
REST_S = 0.02
"""Between two traced requests, so that what the first has still written is not taken for the second's."""
AS_JSON = {"content-type": "application/json"}
_CALL = re.compile(r"^(\d+) +(?:<\.\.\. )?(\w+)")
_READS = frozenset({"read", "recvfrom", "recvmsg"})
_SENDS = frozenset({"write", "writev", "sendto", "sendmsg"})


def lost_by_cuts(folder: Path, batches: int) -> tuple[int, int]:
    """How many cuts were tried, and after how many an acknowledged record was missing or a batch there in part.

    The file is cut at every frame's end and in every frame's middle; records acknowledged before that length must be
    there, and of the batch that was cut nothing.
    """
    home, after = folder / "home", folder / "after"
    wal = home / "live.sqlite-wal"
    with HomeLog(home, writer=True) as log:
        ends = [(wal.stat().st_size, log.end())]
        for number in range(batches):
            log.append([_like(f"{number}-{n}") for n in range(1 + number % 7)], 20_000 * DAY_MS)
            ends.append((wal.stat().st_size, log.end()))
        shutil.copytree(home, after)
    content = (after / wal.name).read_bytes()
    frames = range(HEADER + FRAME, len(content) + 1, FRAME)
    cuts = [cut for end in frames for cut in (end - FRAME // 2, end) if cut >= ends[0][0]]
    lost = 0
    for cut in cuts:
        tried = folder / "tried"
        tried.mkdir()
        shutil.copy(after / "live.sqlite", tried)
        (tried / wal.name).write_bytes(content[:cut])
        with HomeLog(tried, writer=True) as log:
            lost += log.end() != max(end for length, end in ends if length <= cut)
        shutil.rmtree(tried)
    return len(cuts), lost


def answers_before_sync(home: Path, now_ms: int, batches: int) -> tuple[int, int, int] | str:
    """Answers to events, syncs of the write-ahead file, and answers that no sync of what they acknowledge precedes.

    Why not, where the system does not let its calls be traced.
    """
    trace = home.parent / "trace"
    calls = ",".join(["trace=pwrite64", "fdatasync", "fsync", *sorted(_READS | _SENDS)])
    before = ["strace", "-f", "-y", "-s", "16", "-o", str(trace), "-e", calls]
    try:
        with serving(home, now_ms, before) as server:
            for number in range(batches):
                event = {"event_id": f"traced-{number}", "ts_ms": now_ms, "item_id": "i1", "action": "like"}
                body = json.dumps([event | {"user_id": "u1"}]).encode()
                sent = urllib.request.Request(f"{server.address}/v1/events", body, AS_JSON)  # noqa: S310  # our server
                urllib.request.urlopen(sent, timeout=60).read()  # noqa: S310
                time.sleep(REST_S)
            server.kill()
    except RuntimeError as error:
        return f"strace cannot trace here: {error}"
    return read_trace(trace.read_text("utf-8", "replace").splitlines())


def read_trace(lines: list[str]) -> tuple[int, int, int]:
    """Answers, syncs and answers too early, of a trace that names the files of its calls; one request at a time.

    A sync covers what was written before it began. An answer is too early where nothing that was written since its
    request was read is covered, or something that was written is not.
    """
    answers = syncs = early = written = covered = 0
    asked, begun = math.inf, dict[str, int]()
    for line in lines:
        found = _CALL.match(line)
        if found is None:
            continue
        process, call = found.groups()
        to_log, unfinished = "live.sqlite-wal>" in line, "<unfinished" in line
        if call == "pwrite64" and to_log:
            written += 1
        elif call in ("fdatasync", "fsync") and to_log and unfinished:
            begun[process] = written
        elif call in ("fdatasync", "fsync") and (to_log or process in begun):
            syncs += 1
            covered = max(covered, begun.pop(process, written))
        elif call in _READS and '"POST /v1/events' in line:
            asked = written
        elif call in _SENDS and "HTTP/1.1 200" in line:
            answers += 1
            early += covered <= asked or covered < written
            asked = math.inf
    return answers, syncs, early


def _like(name: str) -> Event:
    return Event(name, 20_000 * DAY_MS, "i1", Action.LIKE, "u1")
