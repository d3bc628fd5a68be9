"""What the engine counts, as Prometheus metrics in a registry of its own."""

from prometheus_client import CollectorRegistry, Counter

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
