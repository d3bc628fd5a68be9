"""The lease: a Redis lock with a time-out that keeps two workers from doing the same work."""

from claimwright.locks.lease import (
    Lease,
    LeaseOptions,
    lease,
    lease_key,
    make_redis_client,
    no_lease,
)

__all__ = ["Lease", "LeaseOptions", "lease", "lease_key", "make_redis_client", "no_lease"]
