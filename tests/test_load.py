"""The load generator, against a server of one thread that says what it is told to."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from benchmarks.load import Ask, load, poisson, request, steady

PAGE = b'{"items":[{"item_id":"room-1"},{"item_id":"i2"}]}'
FEED = Ask("feed", request("POST", "/v1/feed", b"{}"))
END = Ask("events", request("POST", "/v1/events", b"[]"), (b"room-1",))


@contextmanager
def answering(body: bytes, status: int = 200, rest_s: float = 0.0) -> Iterator[str]:
    """A server that answers every request alike, one at a time, its head and body apart."""
    with socket.create_server(("127.0.0.1", 0)) as bound:

        def serve() -> None:
            line, _ = bound.accept()
            with line:
                while line.recv(1 << 16):
                    time.sleep(rest_s)
                    line.sendall(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, len(body)))
                    line.sendall(body)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        thread.join()


def test_every_ask_is_answered_once_and_a_page_s_items_are_counted() -> None:
    with answering(PAGE) as address:
        heard = load(address, [FEED] * 20, None, 1)
    assert (heard.kind == "feed").all()
    assert heard.items.tolist() == [2] * 20
    assert heard.faults(2) == []
    assert heard.faults(3) == ["20 pages did not hold 3 items"]


def test_a_status_that_is_not_200_is_a_fault() -> None:
    with answering(b"{}", status=503) as address:
        assert load(address, [END] * 3, None, 1).faults(2) == ["3 answers were not 200"]


def test_a_room_shown_after_its_end_was_acknowledged_is_a_fault() -> None:
    with answering(PAGE) as address:
        assert load(address, [FEED, END], None, 1).dead == ()
    with answering(PAGE) as address:
        heard = load(address, [FEED, END, FEED], None, 1)
    assert heard.dead == ("room-1",)
    assert heard.faults(2) == ["room room-1 was shown after its end was acknowledged"]


def test_a_request_that_waits_for_a_slow_server_is_timed_from_when_it_was_due() -> None:
    with answering(PAGE, rest_s=0.02) as address:
        heard = load(address, [FEED] * 5, np.zeros(5), 1)
    took = heard.took_ms("feed")
    assert (np.diff(took) >= 20).all()
    assert len(heard.lag_ms) == 5


def test_arrivals_are_of_the_asked_rate_and_sorted() -> None:
    even, drawn = steady(100, 20), poisson(100, 20, seed=3)
    assert (len(even), len(drawn)) == (2000, 2000)
    assert (np.diff(drawn) > 0).all()
    assert abs(drawn[-1] - 20) < 3
    assert (drawn == poisson(100, 20, seed=3)).all()
