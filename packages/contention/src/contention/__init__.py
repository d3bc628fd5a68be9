"""A concurrency-control test kit; this release is its empty, typed shell."""

__all__: list[str] = []
