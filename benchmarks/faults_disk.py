"""A server on a disk whose every sync takes long: acknowledgements wait for it, pages do not."""

import http.client
import json
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.churn import PATIENT_MS
from benchmarks.crash_load import event_ids, serving
from benchmarks.market import NOW_MS
from benchmarks.report import Report, quantiles

SYNC_MS = 200
"""What every sync takes longer; strace holds the call up, so that nothing of ours is in on it."""
PAGE_MS = SYNC_MS / 2
"""A page that took so long may have waited for a sync."""
WARMING = 50
"""Pages that are asked for before any is timed."""


def slow_disk(report: Report, home: Path, seconds: float) -> None:
    """Ask for pages and send events for a while, and see who waited."""
    if shutil.which("strace") is None:
        report.rows.append({"disk": "slow", "skipped": "strace is not installed"})
        return
    delay = f"inject=fdatasync,fsync:delay_enter={SYNC_MS * 1000}"
    before = ["strace", "-f", "--seccomp-bpf", "-o", "/dev/null", "-e", "trace=fdatasync,fsync", "-e", delay]
    try:
        with serving(home, NOW_MS, before) as server:
            found = _Asked(server.address.removeprefix("http://"), seconds)
    except RuntimeError as error:
        report.rows.append({"disk": "slow", "skipped": f"strace cannot hold up calls here: {error}"})
        return
    waited = sum(took > PAGE_MS for took in found.pages)
    for what, took in (("pages", found.pages), ("acknowledgements", found.acks)):
        report.rows.append({"disk": f"every sync takes {SYNC_MS} ms", "what": what, "n": len(took), **quantiles(took)})
    report.ratios["faults.pages_behind_syncs"] = waited / len(found.pages)
    if min(found.acks) < SYNC_MS:
        report.faults.append("slow disk: an event was acknowledged before its sync was over")
    if lost := len(found.acknowledged - event_ids(home)):
        report.faults.append(f"slow disk: {lost} acknowledged events lost")
    report.faults += found.faults


class _Asked:
    """What two clients, one that asks and one that sends, had to wait, in ms."""

    def __init__(self, host: str, seconds: float) -> None:
        self.pages: list[float] = []
        self.acks: list[float] = []
        self.acknowledged: set[str] = set()
        self.faults: list[str] = []
        self._host = host
        self._until = seconds
        self._warm()
        clients = [threading.Thread(target=self._each, args=(act,)) for act in (self._page, self._send)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()

    def _warm(self) -> None:
        line = http.client.HTTPConnection(self._host, timeout=60)
        for number in range(WARMING):
            self._page(line, number)
        line.close()
        self.pages.clear()
        self._until += time.perf_counter()

    def _each(self, act: Callable[[http.client.HTTPConnection, int], None]) -> None:
        line, number = http.client.HTTPConnection(self._host, timeout=60), 0
        while time.perf_counter() < self._until:
            act(line, number)
            number += 1
        line.close()

    def _page(self, line: http.client.HTTPConnection, number: int) -> None:
        page = {"user_id": f"u{2 + number % 2}", "count": 20, "deadline_ms": PATIENT_MS}
        took, answer = self._answer(line, "/v1/feed", page)
        self.pages.append(took)
        if len(answer.get("items", ())) != 20:
            told = {name: answer.get(name) for name in ("level", "degraded", "dropped", "items", "detail")}
            self.faults.append(f"slow disk: {told}"[:300])
        time.sleep(0.005)

    def _send(self, line: http.client.HTTPConnection, number: int) -> None:
        event = {"event_id": f"slow-{number}", "ts_ms": NOW_MS, "item_id": "i1", "action": "like", "user_id": "u1"}
        took, answer = self._answer(line, "/v1/events", [event])
        self.acks.append(took)
        if [ack["status"] for ack in answer.get("results", ())] == ["accepted"]:
            self.acknowledged.add(f"slow-{number}")
        else:
            self.faults.append(f"slow disk: {str(answer)[:200]}")

    def _answer(
        self, line: http.client.HTTPConnection, path: str, body: object
    ) -> tuple[float, dict[str, list[dict[str, str]]]]:
        started = time.perf_counter()
        line.request("POST", path, json.dumps(body).encode(), {"content-type": "application/json"})
        answer: dict[str, list[dict[str, str]]] = json.loads(line.getresponse().read())
        return 1e3 * (time.perf_counter() - started), answer
