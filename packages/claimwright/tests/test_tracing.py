"""Spans carry the ids of the log lines; without OpenTelemetry nothing is missing."""

import asyncio
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from claimwright import process_policy_claims, tracing
from claimwright.domain.errors import InvalidInputError, NotFoundError
from claimwright.operations.calculate import PolicyCalculation
from claimwright.runtime import Runtime
from claimwright.testing import TEST_DATE, create_test_policy, create_test_risk_event
from support.weather import World

_exported = InMemorySpanExporter()


@pytest.fixture(scope="module", autouse=True)
def _provider() -> None:
    """A process has one provider for good."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(_exported))
    trace.set_tracer_provider(provider)


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    _exported.clear()
    yield _exported
    _exported.clear()


def facts_of(spans: InMemorySpanExporter, name: str) -> list[Mapping[str, object]]:
    return [dict(one.attributes or {}) for one in spans.get_finished_spans() if one.name == name]


async def test_a_calculation_is_a_span_with_its_ids(
    runtime: Runtime, spans: InMemorySpanExporter
) -> None:
    policy = await create_test_policy()
    await create_test_risk_event()
    claims = await process_policy_claims(
        redis_client=runtime.redis, policy=policy, target_date=TEST_DATE
    )
    assert facts_of(spans, "claimwright calculate policy") == [
        {
            "claimwright.policy": policy.id,
            "claimwright.day": "2025-01-15",
            "claimwright.calculation_id": str(claims[0].calculation_id),
            "claimwright.claims": 1,
        }
    ]


async def test_what_a_run_does_is_spans_with_their_ids(
    fresh_runtime: Runtime, spans: InMemorySpanExporter
) -> None:
    world = World(fresh_runtime)
    await world.insure({"P1": 10_000})
    await world.rain(TEST_DATE, ["0.1"])
    await world.calculate()
    await world.rain(TEST_DATE, ["1.2"], from_hour=14)
    spans.clear()
    await world.calculate()
    (evaluated,) = facts_of(spans, "claimwright evaluate readings")
    assert evaluated == {
        "claimwright.region": "JFK",
        "claimwright.requests": 1,
        "claimwright.days": 2,
        "claimwright.finished": 1,
    }
    (chunk,) = facts_of(spans, "claimwright calculate chunk")
    (claim,) = await world.claims("P1")
    assert chunk["claimwright.calculation_id"] == str(claim.calculation_id)
    assert (chunk["claimwright.chunk"], chunk["claimwright.claims"]) == (1, 1)


async def test_an_error_is_recorded_in_its_span(
    runtime: Runtime, spans: InMemorySpanExporter
) -> None:
    nobody = create_test_policy()
    with pytest.raises(NotFoundError):
        await PolicyCalculation().run(
            runtime.engine, runtime.redis, nobody.id, TEST_DATE, runtime.lease_options
        )
    (span,) = spans.get_finished_spans()
    assert not span.status.is_ok
    assert [event.name for event in span.events] == ["exception"]


def test_a_span_belongs_to_the_trace_of_the_thread_that_asked(
    spans: InMemorySpanExporter,
) -> None:
    async def work() -> None:
        with tracing.span("inner", request=1, chunk=None):
            pass

    def ask(loop: asyncio.AbstractEventLoop) -> None:
        with tracing.span("outer"):
            asyncio.run_coroutine_threadsafe(work(), loop).result()

    async def main() -> None:
        with ThreadPoolExecutor() as threads:
            await asyncio.get_running_loop().run_in_executor(
                threads, ask, asyncio.get_running_loop()
            )

    asyncio.run(main())
    inner, outer = spans.get_finished_spans()
    assert inner.parent is not None
    assert outer.context is not None
    assert inner.parent.span_id == outer.context.span_id
    assert dict(inner.attributes or {}) == {"claimwright.request": 1}


def test_without_opentelemetry_nothing_happens_and_asking_for_it_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [name for name in sys.modules if name.startswith("opentelemetry")]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(tracing, "_tracer", tracing._tracer.__wrapped__)  # noqa: SLF001 - forget what it found
    with tracing.span("calculate policy", policy=1) as tell:
        tell(claims=1)
    for asked in (tracing.export_traces, tracing.follow_messages):
        with pytest.raises(InvalidInputError, match=r"claimwright\[otel\]"):
            asked()
