"""Bytes that arrived before their message was whole."""


class Backlog:
    """The beginning of a message whose end has not come.

    Chunks are joined only when enough of them are there, so that a large message in many small
    chunks costs time in proportion to its size.
    """

    __slots__ = ("_chunks", "_size", "_wanted")

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._size = 0
        self._wanted = 0

    @property
    def size(self) -> int:
        """How many bytes wait for the rest of their message."""
        return self._size

    def take(self, data: bytes) -> bytes | None:
        """Everything kept and ``data``; or None while that is less than is wanted."""
        if not self._chunks:
            return data
        self._chunks.append(data)
        self._size += len(data)
        if self._size < self._wanted:
            return None
        whole = b"".join(self._chunks)
        self._chunks.clear()
        self._size = 0
        return whole

    def keep(self, rest: bytes, wanted: int) -> None:
        """Keep ``rest``; `take` gives it back once ``wanted`` bytes are there in all."""
        if rest:
            self._chunks.append(rest)
            self._size = len(rest)
            self._wanted = wanted
