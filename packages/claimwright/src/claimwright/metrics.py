"""What the engine counts, as Prometheus metrics in a registry of its own.

The processes of one worker count together where ``PROMETHEUS_MULTIPROC_DIR`` is set before this is
loaded; gauges are those of whoever set them last.
"""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REGISTRY = CollectorRegistry()

LEASES_CONTENDED = Counter(
    "claimwright_leases_contended",
    "Calculations that found their lease held by another worker and gave up waiting.",
    registry=REGISTRY,
)
LEASES_LOST = Counter(
    "claimwright_leases_lost",
    "Leases that had run out or changed hands when their calculation ended.",
    registry=REGISTRY,
)
LEASES_SKIPPED = Counter(
    "claimwright_leases_skipped",
    "Calculations that went on without a lease: no answer, no connection to spare, or the breaker.",
    ["reason"],
    registry=REGISTRY,
)
TRANSACTIONS_RETRIED = Counter(
    "claimwright_transactions_retried",
    "Transactions that a transient database error ended, by SQLSTATE; most are begun again.",
    ["sqlstate"],
    registry=REGISTRY,
)
CLAIMS_CREATED = Counter(
    "claimwright_claims_created",
    "Claims stored, by tier.",
    ["tier"],
    registry=REGISTRY,
)
REQUESTS_HANDED_ON = Counter(
    "claimwright_requests_handed_on",
    "Requests that the relay gave to the queue, by kind.",
    ["kind"],
    registry=REGISTRY,
)
WORK_RETRIED = Counter(
    "claimwright_work_retried",
    "Attempts of requests and chunks that failed and are made again, by kind.",
    ["kind"],
    registry=REGISTRY,
)
WORK_DEAD = Counter(
    "claimwright_work_dead",
    "Requests that were given up as dead letters, by kind.",
    ["kind"],
    registry=REGISTRY,
)
WORK_SECONDS = Histogram(
    "claimwright_work_seconds",
    "Seconds of a task, by its name.",
    ["task"],
    registry=REGISTRY,
    buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300),
)
#: From a fraction of a second on a calm day to an hour in which the broker was away.
_LAG_BUCKETS: Final = (0.1, 0.3, 1, 3, 10, 30, 60, 120, 300, 600, 1_800, 3_600)
WORK_LAG_SECONDS = Histogram(
    "claimwright_work_lag_seconds",
    "Seconds from the asking to the end of a request; for calculate from an event to its claims.",
    ["kind"],
    registry=REGISTRY,
    buckets=_LAG_BUCKETS,
)
OUTBOX_REQUESTS = Gauge(
    "claimwright_outbox_requests",
    "Requests that are still to do, by kind and state, as the relay last saw them.",
    ["kind", "state"],
    registry=REGISTRY,
    multiprocess_mode="mostrecent",
)
OUTBOX_OLDEST_SECONDS = Gauge(
    "claimwright_outbox_oldest_seconds",
    "How long the oldest of these requests has been asked for.",
    ["kind", "state"],
    registry=REGISTRY,
    multiprocess_mode="mostrecent",
)
