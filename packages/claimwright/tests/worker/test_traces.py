"""One trace from the relay through the queue to the claims, at a real collector."""

import signal
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from support.programs import claimwright_command, running
from support.sites import DAY, Site

CALCULATION_ID = "claimwright.calculation_id"


class Collector(ThreadingHTTPServer):
    """Takes down every span that is sent to it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Taking)
        self.spans: list[Span] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Taking(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:  # the handler's name for it
        body = self.rfile.read(int(self.headers["Content-Length"]))
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                self.server.spans.extend(scope.spans)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_words: object) -> None:
        """Say nothing."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def settings_of_site(collector: Collector) -> dict[str, str]:
    return {
        "CLAIMWRIGHT_TRACES": "true",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
    }


def facts_of(span: Span) -> dict[str, str]:
    return {fact.key: fact.value.string_value for fact in span.attributes}


@pytest.mark.prove
async def test_a_claims_calculation_is_in_the_trace_of_the_relay_that_handed_it_on(
    site: Site, collector: Collector
) -> None:
    await site.world.insure({"A": 100_000})
    with running(claimwright_command("beat"), site.environment) as relay:
        relay.saw("outcome=begun")
        with site.worker() as worker:
            await site.drained()
            await site.world.rain(DAY, ["1.2"])
            await site.drained()
            for program in (worker, relay):  # which send what they have when they end
                program.signal(signal.SIGTERM)
                assert program.ended() == 0
    (claim,) = await site.world.claims("A")
    (chunk,) = (
        span
        for span in collector.spans
        if facts_of(span).get(CALCULATION_ID) == str(claim.calculation_id)
    )
    names = [span.name for span in collector.spans if span.trace_id == chunk.trace_id]
    assert chunk.name == "claimwright calculate chunk"
    assert "claimwright hand on" in names
    assert "run/claimwright.calculate_day" in names
