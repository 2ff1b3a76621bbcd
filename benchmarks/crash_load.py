"""A server that can be killed, and clients who send what was not acknowledged again to the next one."""

import http.client
import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.churn import PATIENT_MS
from features.logs.live import HomeLog

ROOT = Path(__file__).parents[1]
SENDERS, ASKERS = 2, 1
LIVES = ("room_start", "room_pulse", "room_end")
DEEDS = ("impression", "click", "watch", "like", "hide")


class Server:
    """A server process and where it answers."""

    def __init__(self, process: "subprocess.Popen[str]", address: str) -> None:
        self.process = process
        self.address = address

    def kill(self) -> None:
        """Kill -9 it and the command that stood before it, and wait until they are gone."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def serving(
    home: Path, now_ms: int, before: Sequence[str] = (), environ: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """A server in a process of its own, which a command may stand before; killed at the end if it still runs."""
    command = [*before, sys.executable, "-m", "benchmarks.crash_load", str(home), str(now_ms)]
    given = os.environ | {"PYTHONPATH": str(ROOT)} | dict(environ or {})
    with subprocess.Popen(command, env=given, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        if process.stdout is None:
            raise RuntimeError("The server has no pipe.")
        server = Server(process, process.stdout.readline().strip())
        try:
            if not server.address:
                raise RuntimeError("The server did not start; it says above why.")
            yield server
        finally:
            server.kill()


def event_ids(home: Path) -> set[str]:
    """The ids of all events that a home's log holds."""
    with HomeLog(home / "log", writer=False) as log:
        return {name for batch in log.read() for name in batch["event_id"].to_pylist() if name}


class Load:
    """Events and pages from a few clients; what was acknowledged, by event id with its offset.

    A batch that was not answered is sent again as it was, to the next server.
    """

    def __init__(self, now_ms: int, seed: int = 1) -> None:
        self._now_ms = now_ms
        self._draws = [random.Random(f"{seed}-{n}") for n in range(SENDERS + ASKERS)]  # noqa: S311  # a load
        self._waiting: list[list[dict[str, object]]] = [[] for _ in range(SENDERS)]
        self._numbers = [0] * SENDERS
        self.acknowledged: dict[str, int] = {}
        self.pages = self.again = 0
        self.faults: list[str] = []

    @contextmanager
    def sent_to(self, address: str) -> Iterator[None]:
        """Every client sends until the server is gone."""
        host = address.removeprefix("http://")
        clients = [threading.Thread(target=self._send, args=(n, host)) for n in range(SENDERS)]
        clients += [threading.Thread(target=self._ask, args=(SENDERS + n, host)) for n in range(ASKERS)]
        for client in clients:
            client.start()
        try:
            yield
        finally:
            for client in clients:
                client.join()

    def _send(self, client: int, host: str) -> None:
        line = http.client.HTTPConnection(host, timeout=30)
        try:
            while True:
                self.again += bool(self._waiting[client])
                batch = self._waiting[client] = self._waiting[client] or self._drawn(client)
                for event, ack in zip(batch, self._answer(line, "/v1/events", batch)["results"], strict=True):
                    if ack["status"] == "accepted":
                        self.acknowledged[str(event["event_id"])] = int(ack["offset"])
                    elif ack["status"] != "duplicate":
                        self.faults.append(str(ack))
                self._waiting[client] = []
        except (OSError, http.client.HTTPException):
            """The server is gone."""
        finally:
            line.close()

    def _ask(self, client: int, host: str) -> None:
        draw, line = self._draws[client], http.client.HTTPConnection(host, timeout=30)
        try:
            while True:
                page = {"user_id": f"u{draw.randrange(250)}", "count": 20, "deadline_ms": PATIENT_MS}
                self._answer(line, "/v1/feed", page)
                self.pages += 1
        except (OSError, http.client.HTTPException):
            """The server is gone."""
        finally:
            line.close()

    def _answer(
        self, line: http.client.HTTPConnection, path: str, body: object
    ) -> dict[str, list[dict[str, str | int]]]:
        line.request("POST", path, json.dumps(body).encode(), {"content-type": "application/json"})
        answer = line.getresponse()
        said = answer.read()
        if answer.status != 200:
            self.faults.append(f"{path}: {answer.status} {said[:200]!r}")
        found: dict[str, list[dict[str, str | int]]] = json.loads(said)
        return found if answer.status == 200 else {"results": []}

    def _drawn(self, client: int) -> list[dict[str, object]]:
        draw = self._draws[client]
        batch: list[dict[str, object]] = []
        for _ in range(draw.choice((1, 10, 50))):
            self._numbers[client] += 1
            is_room = draw.random() < 0.1
            event: dict[str, object] = {
                "event_id": f"{client}-{self._numbers[client]}",
                "ts_ms": self._now_ms - draw.choice((0, 1_000, 90_000_000)),
                "item_id": f"i{draw.randrange(1_100)}",
                "action": draw.choice(LIVES if is_room else DEEDS),
                "value": draw.randrange(90_000),
            }
            batch.append(event if is_room else event | {"user_id": f"u{draw.randrange(250)}", "request_id": "r"})
        return batch


def _main() -> None:
    from serving import Settings, serve

    home, now_ms = sys.argv[1], int(sys.argv[2])
    settings = Settings.read(os.environ, {"home": home, "port": 0})
    serve(settings, lambda address: print(address, flush=True), lambda: now_ms)


if __name__ == "__main__":
    _main()
