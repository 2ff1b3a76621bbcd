"""A page as an OpenTelemetry trace: one span a request, one below it for each of its stages.

Needs the extra ``traces``. Where spans go is what OpenTelemetry's own variables say, ``OTEL_EXPORTER_OTLP_ENDPOINT``
first. Spans are made after a page, of times that were measured anyway: making it is not slowed by them.
"""

from opentelemetry.propagate import extract
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import SpanKind, set_span_in_context

from ranking.api import Feed
from ranking.request.ladder import Budget
from serving.asked import Asked


class Traces:
    """Tells of pages what their stages took.

    Parameters
    ----------
    exporter : SpanExporter
        Where spans go, in batches, in a thread of its own.
    """

    def __init__(self, exporter: SpanExporter) -> None:
        self._provider = TracerProvider(resource=Resource.create({"service.name": "huozhao"}))
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("huozhao")

    def page(self, asked: Asked, feed: Feed, budget: Budget, ended_ns: int) -> None:
        """Tell of a page that was ready at ``ended_ns``, nanoseconds since 1970 UTC."""
        lengths = {stage: round(1e6 * took_ms) for stage, took_ms in budget.took_ms.items()}
        at = ended_ns - sum(lengths.values())
        page = self._tracer.start_span(
            asked.route,
            extract({"traceparent": asked.parent}) if asked.parent else None,
            SpanKind.SERVER,
            {
                "huozhao.request_id": feed.request_id,
                "huozhao.bundle": feed.bundle,
                "huozhao.policy": feed.policy,
                "huozhao.rung": feed.level,
                "huozhao.items": len(feed.items),
            },
            start_time=at,
        )
        below = set_span_in_context(page)
        for stage, length in lengths.items():
            self._tracer.start_span(stage, below, start_time=at).end(at + length)
            at += length
        page.end(ended_ns)

    def stop(self) -> None:
        """Return when all that was told is sent."""
        self._provider.shutdown()


def exported() -> Traces:
    """Traces that go by OTLP over HTTP to where OpenTelemetry's variables say."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

    return Traces(OTLPSpanExporter())
