"""What the requests are called that one worker holds: by the worker alone while there is one."""

from collections.abc import Mapping


class HeldNames:
    """The names of one worker's options, each kept as long as its request is held.

    A request that is held alone is called as the worker, as in ``w1``; one that comes to be held
    beside others as its connection, as in ``w1/2``.
    """

    def __init__(self, worker: str) -> None:
        self._worker = worker
        self._names: dict[tuple[int, int], str] = {}

    def of(self, held: Mapping[int, int]) -> dict[str, int]:
        """The numbers of the connections that hold something, by name.

        Args:
            held: the number of the request that each connection holds, by the connection's.
        """
        current = sorted(held.items())
        self._names = {one: self._names[one] for one in current if one in self._names}
        for one in current:
            if one not in self._names:
                self._names[one] = f"{self._worker}/{one[0]}" if self._names else self._worker
        return {name: lane for (lane, _), name in sorted(self._names.items())}
