"""Traces, where OpenTelemetry is installed (``claimwright[otel]``); without it nothing happens.

Spans have the ids that the log lines have. Whoever sets up a tracer provider of their own gets them
too; `export_traces` sets up the usual one, which sends where ``OTEL_EXPORTER_OTLP_ENDPOINT`` leads.
"""

import atexit
import contextlib
from collections.abc import Callable, Iterator
from functools import lru_cache
from importlib import import_module
from typing import Any, Final

from claimwright.domain.errors import InvalidInputError

_SERVICE: Final = "claimwright"
_NEEDED: Final = "traces need OpenTelemetry: pip install 'claimwright[otel]'"

Tell = Callable[..., None]
"""Adds facts to a span, by name."""


@contextlib.contextmanager
def span(name: str, **facts: object) -> Iterator[Tell]:
    """A span around the block; an exception that leaves it is recorded.

    Args:
        name: what is done, in words.
        facts: ids and dates; those that are `None` are left out.

    Yields:
        What adds facts that are known later.
    """
    tracer = _tracer()
    if tracer is None or _goes_nowhere():
        yield _tell_nobody
        return
    with tracer.start_as_current_span(f"{_SERVICE} {name}", attributes=_attributes(facts)) as one:

        def tell(**more: object) -> None:
            one.set_attributes(_attributes(more))

        yield tell


def export_traces() -> Callable[[], None]:
    """Send this process's spans to a collector, in the background, until the process ends.

    Call it once a process, after a fork and not before.

    Returns:
        What sends the rest; a process that ends without Python's own clean-up has to call it.

    Raises:
        InvalidInputError: OpenTelemetry is not installed.
    """
    try:
        trace = import_module("opentelemetry.trace")
        sdk = import_module("opentelemetry.sdk.trace")
        batches = import_module("opentelemetry.sdk.trace.export")
        otlp = import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
        resources = import_module("opentelemetry.sdk.resources")
    except ImportError:
        raise InvalidInputError(_NEEDED) from None
    resource = resources.Resource.create({"service.name": _SERVICE})
    provider = sdk.TracerProvider(resource=resource)
    provider.add_span_processor(batches.BatchSpanProcessor(otlp.OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    end: Callable[[], None] = provider.shutdown
    atexit.register(end)
    return end


def follow_messages() -> None:
    """Let a task's spans belong to the trace of whoever sent its message.

    Raises:
        InvalidInputError: OpenTelemetry is not installed.
    """
    try:
        celery = import_module("opentelemetry.instrumentation.celery")
    except ImportError:
        raise InvalidInputError(_NEEDED) from None
    instrumentor = celery.CeleryInstrumentor()
    if not instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.instrument()


@lru_cache(maxsize=1)
def _tracer() -> Any:  # noqa: ANN401 - a tracer of a package that may be missing
    try:
        return import_module("opentelemetry.trace").get_tracer(_SERVICE)
    except ImportError:
        return None


def _goes_nowhere() -> bool:
    """Whether nobody has set a tracer provider up: a span costs as much as a statement even so."""
    trace = import_module("opentelemetry.trace")
    return isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def _attributes(facts: dict[str, object]) -> dict[str, str | int]:
    return {
        f"{_SERVICE}.{name}": fact if isinstance(fact, int) else str(fact)
        for name, fact in facts.items()
        if fact is not None
    }


def _tell_nobody(**_facts: object) -> None:
    """Add facts to no span."""
