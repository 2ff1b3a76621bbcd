"""What a server counts and times, in the form that Prometheus reads (its text format, at ``GET /metrics``)."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from ranking.api import Ack, Feed, Status
from ranking.request.ladder import Budget

SECONDS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5)
"""Bounds of the buckets that times fall in, in seconds."""


METRICS_TYPE = CONTENT_TYPE_LATEST.partition("; charset")[0]
"""The framework says beside it that it is UTF-8."""


class Metrics:
    """Counts and times of one server; safe to call from many threads.

    Parameters
    ----------
    status : callable
        How the engine stands; asked at each reading.
    sources : callable
        The names that ``Budget.sources`` counts by.
    waiting : callable
        How many pages wait for their turn.
    """

    def __init__(
        self, status: Callable[[], Status], sources: Callable[[], Sequence[str]], waiting: Callable[[], int]
    ) -> None:
        self._sources = sources
        self._registry = registry = CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"huozhao_{name}", text, labels, registry=registry)

        def timer(name: str, text: str, *labels: str) -> Histogram:
            return Histogram(f"huozhao_{name}_seconds", text, labels, buckets=SECONDS, registry=registry)

        self._answers = counter("answers", "Answers, by route and status.", "route", "status")
        self._answer_s = timer("answer", "From the head of a request to its answer.", "route")
        self._of_answers = dict[tuple[str, int], tuple[Counter, Histogram]]()
        self._page_s = timer("page", "Making a page, by rung of the ladder.", "rung")
        self._stage_s = timer("stage", "Stages of a page.", "stage")
        self._degraded = counter("degraded", "Pages that were not made in full, by cause.", "cause")
        self._shown = counter("items_shown", "Items of pages, by source.", "source")
        self._found = counter("candidates", "Candidates that were found, by source.", "source")
        self._dropped = counter("dropped", "Candidates that were dropped, by reason.", "reason")
        self._relaxed = counter("relaxed", "Bounds that gave way, by name.", "bound")
        self._records = counter("records", "Records that were sent, by what became of them.", "status")
        self._keep_s = timer("keep", "From a batch of records to its acknowledgement.")
        self._loop_late_s = timer("loop_late", "How late the event loop came to what was due: everybody waits for it.")
        gauge = Gauge("huozhao_pages_waiting", "Pages that wait for their turn.", registry=registry)
        gauge.set_function(waiting)
        registry.register(Standing(status))

    def page(self, feed: Feed, budget: Budget) -> None:
        """Count a page, and where its time went."""
        self._page_s.labels(feed.level).observe(sum(budget.took_ms.values()) / 1e3)
        for stage, took_ms in budget.took_ms.items():
            self._stage_s.labels(stage).observe(took_ms / 1e3)
        if budget.sources is not None:
            for name, count in zip(self._sources(), np.bincount(budget.sources).tolist(), strict=False):
                self._found.labels(name).inc(count)
        for reason, count in feed.dropped.items():
            self._dropped.labels(reason).inc(count)
        for bound in feed.relaxed:
            self._relaxed.labels(bound).inc()
        if feed.degraded:
            self._degraded.labels(feed.degraded).inc()
        shown = [item.source for item in feed.items]
        for source in dict.fromkeys(shown):
            self._shown.labels(source).inc(shown.count(source))

    def kept(self, acks: Sequence[Ack], took_s: float) -> None:
        """Count what became of records."""
        self._keep_s.observe(took_s)
        said = [ack.status for ack in acks]
        for status in dict.fromkeys(said):
            self._records.labels(status).inc(said.count(status))

    def answered(self, route: str, status: int, took_s: float) -> None:
        """Count an answer."""
        found = self._of_answers.get((route, status))
        if found is None:
            # Asking for a child by its labels costs more than all that is counted with it.
            found = self._of_answers[route, status] = self._answers.labels(route, status), self._answer_s.labels(route)
        found[0].inc()
        found[1].observe(took_s)

    def late(self, late_s: float) -> None:
        """Count how late the event loop came."""
        self._loop_late_s.observe(late_s)

    def text(self) -> str:
        """All of it, as of now."""
        return generate_latest(self._registry).decode()


class Standing(Collector):
    """How the engine stands, read when somebody asks.

    Parameters
    ----------
    status : callable
    """

    def __init__(self, status: Callable[[], Status]) -> None:
        self._status = status

    def collect(self) -> Iterable[Metric]:
        """Families of one reading."""
        status = self._status()
        yield InfoMetricFamily("huozhao", "What is served.", {"bundle": status.bundle, "policy": status.policy})
        received_s, since_s = status.received_ms / 1e3, status.bundle_since_ms / 1e3
        for name, text, value in (
            ("log_offset", "Records of the log that are folded.", status.offset),
            ("log_received_timestamp_seconds", "When the last record that is folded was received.", received_s),
            ("bundle_since_timestamp_seconds", "When the bundle was taken up; 0 at the start.", since_s),
            ("bundle_ready_seconds", "How long the bundle was made ready before.", status.bundle_ready_ms / 1e3),
            ("bundle_coming", "1 while a promoted bundle is made ready.", bool(status.coming)),
            ("policy_fault", "1 while policy.toml, or a boost, cannot be served.", bool(status.policy_fault)),
            ("users", "People known.", status.users),
            ("items", "Items of the catalog.", status.items),
            ("rooms_alive", "Rooms that are alive now.", status.rooms_alive),
        ):
            yield GaugeMetricFamily(f"huozhao_{name}", text, value)
        yield CounterMetricFamily("huozhao_late_events", "Events that came too late to count.", status.late_events)
        yield CounterMetricFamily("huozhao_repeated_watches", "Watches told twice.", status.repeated_watches)
        for name, text in (
            ("vectors", "Vectors of an index."),
            ("bytes", "Bytes of an index beside its vectors."),
            ("lists", "Lists that answer; 0 where all is scanned."),
            ("training", "1 while new lists are trained."),
            ("outside", "Vectors that stand in no list and are scored in every search."),
            ("falls_short", "1 while lists miss too many of the best, so that some or all searches scan all."),
        ):
            family = GaugeMetricFamily(f"huozhao_index_{name}", text, labels=["kind"])
            for kind, index in status.indexes.items():
                family.add_metric([kind], float(getattr(index, name)))
            yield family
