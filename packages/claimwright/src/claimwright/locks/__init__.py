"""The lease: a Redis lock with a time-out that keeps two workers from doing the same work."""

from claimwright.locks.lease import (
    Lease,
    LeaseOptions,
    lease,
    lease_key,
    make_redis_client,
)

__all__ = ["Lease", "LeaseOptions", "lease", "lease_key", "make_redis_client"]
