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
    began = time.perf_counter()
    line = http.client.HTTPConnection(address.removeprefix("http://"), timeout=30)
    took: dict[str, list[float]] = {change: [] for change in CHANGES}
    late = 0

    def ask(method: str, path: str, body: object) -> list[dict[str, object]]:
        line.request(method, path, json.dumps(body).encode(), {"content-type": "application/json"})
        answer = json.loads(line.getresponse().read())
        found: list[dict[str, object]] = answer.get("results", answer.get("items"))
        return found

    def now() -> int:
        return now_ms + int(1e3 * (time.perf_counter() - began))

    def item(name: str, kind: str, **fields: object) -> None:
        ask("PUT", "/v1/items", [{"item_id": name, "ts_ms": now(), "kind": kind, "author_id": "host"} | fields])

    def room(name: str, action: str) -> None:
        event = {"event_id": f"{name}-{action}", "ts_ms": now(), "item_id": name, "action": action}
        ask("POST", "/v1/events", [event])

    def seen(change: str, name: str, price: int | None) -> int:
        acknowledged = time.perf_counter()
        shown = [
            one["price"]
            for one in ask("POST", "/v1/rank", {"item_ids": [name], "user_id": "u1", "deadline_ms": 60_000})
        ]
        took[change].append(1e3 * (time.perf_counter() - acknowledged))
        return int(shown != ([] if price is None else [price]))

    for number in range(times):
        live, goods = f"effect-room-{number}", f"effect-goods-{number}"
        item(live, "room")
        room(live, "room_start")
        late += seen(CHANGES[0], live, 0)
        room(live, "room_end")
        late += seen(CHANGES[1], live, None)
        for change, price, stock in ((CHANGES[2], 100, 5), (CHANGES[3], 90, 5), (CHANGES[4], 90, 0)):
            item(goods, "product", price=price, stock=stock)
            late += seen(change, goods, price if stock else None)
        time.sleep(rest_s)
    line.close()
    report.rows += [{"system": f"effect: {change}", "changes": times, **quantiles(took[change])} for change in CHANGES]
    if late:
        report.faults.append(f"{late} changes were not in the first answer after their acknowledgement")
    return max(float(quantiles(took[change])["p99_ms"]) for change in CHANGES)
