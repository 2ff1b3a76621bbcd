"""From the acknowledgement of a change to the first answer that shows it: of rooms and of products."""

import http.client
import json
import time

from benchmarks.report import Report, quantiles

CHANGES = ("a room starts", "a room ends", "a product appears", "its price changes", "it runs out")


def effects(report: Report, address: str, now_ms: int, times: int, rest_s: float = 0.0) -> float:
    """Rows of milliseconds from acknowledgement to effect, and the worst 99th percentile of all changes.

    What is not in the first answer is a fault. Between rounds of changes it rests for so many seconds. ``now_ms`` is
    the server's time as this begins: a room that started minutes ago and has no pulse would not be alive.
    """
    line = _Line(address, now_ms)
    for number in range(times):
        live, goods = f"effect-room-{number}", f"effect-goods-{number}"
        line.item(live, "room")
        line.room(live, "room_start")
        line.look("a room starts", live, 0)
        line.room(live, "room_end")
        line.look("a room ends", live, None)
        for change, price, stock in zip(CHANGES[2:], (100, 90, 90), (5, 5, 0), strict=True):
            line.item(goods, "product", price=price, stock=stock)
            line.look(change, goods, price if stock else None)
        time.sleep(rest_s)
    line.close()
    found = {change: quantiles(took) for change, took in line.took.items()}
    report.rows += [{"system": f"effect: {change}", "changes": times, **found[change]} for change in CHANGES]
    if line.late:
        report.faults.append(f"{line.late} changes were not in the first answer after their acknowledgement")
    return max(float(row["p99_ms"]) for row in found.values())


class _Line:
    """A connection over which things change and are looked for.

    Attributes
    ----------
    took : dict of str to list of float
        Milliseconds from acknowledgement to answer, by change.
    late : int
        Answers that did not show the change.
    """

    def __init__(self, address: str, now_ms: int) -> None:
        self._http = http.client.HTTPConnection(address.removeprefix("http://"), timeout=30)
        self._now_ms, self._began = now_ms, time.perf_counter()
        self.took: dict[str, list[float]] = {change: [] for change in CHANGES}
        self.late = 0

    def item(self, name: str, kind: str, **fields: object) -> None:
        """Put an item, and wait until that is acknowledged."""
        row = {"item_id": name, "ts_ms": self._now(), "kind": kind, "author_id": "host"}
        self._ask("PUT", "/v1/items", [row | fields])

    def room(self, name: str, action: str) -> None:
        """Send what a room does, and wait until that is acknowledged."""
        event = {"event_id": f"{name}-{action}", "ts_ms": self._now(), "item_id": name, "action": action}
        self._ask("POST", "/v1/events", [event])

    def look(self, change: str, name: str, price: int | None) -> None:
        """Ask whether an item may be shown, and at which price; None where it may not."""
        acknowledged = time.perf_counter()
        found = self._ask("POST", "/v1/rank", {"item_ids": [name], "user_id": "u1", "deadline_ms": 60_000})
        self.took[change].append(1e3 * (time.perf_counter() - acknowledged))
        self.late += [one["price"] for one in found] != ([] if price is None else [price])

    def close(self) -> None:
        """Hang up."""
        self._http.close()

    def _ask(self, method: str, path: str, body: object) -> list[dict[str, object]]:
        self._http.request(method, path, json.dumps(body).encode(), {"content-type": "application/json"})
        answer = json.loads(self._http.getresponse().read())
        found: list[dict[str, object]] = answer.get("results", answer.get("items"))
        return found

    def _now(self) -> int:
        return self._now_ms + int(1e3 * (time.perf_counter() - self._began))
