"""From the text of a spec file to a `Spec`: one method for each rule of the format's grammar."""

from dataclasses import dataclass

from contention.isolation.errors import SpecError
from contention.isolation.spec import (
    Marker,
    Permutation,
    PlannedStep,
    Session,
    Spec,
    Step,
    UntilDone,
    UntilNotices,
    WaitsOnce,
)
from contention.isolation.tokens import Kind, Token, tokens_of


def parse_spec(source: bytes) -> Spec:
    """Read a spec file.

    Bytes that are not UTF-8 are kept and come out again as they went in.

    Raises:
        SpecError: with the line, when the text does not follow the format, when a step's name is
            taken, or when a permutation names what it cannot name.
    """
    return _Parser(source.decode("utf-8", "surrogateescape")).spec()


@dataclass(frozen=True, slots=True)
class _WrittenMarker:
    """A marker before its step's name was looked up; no name is the asterisk."""

    name: Token | None
    notices: int | None


class _Parser:
    """Recursive descent with one token of look-ahead."""

    def __init__(self, text: str) -> None:
        self._tokens = tokens_of(text)
        self._next = next(self._tokens)
        self._steps: dict[str, Step] = {}

    def spec(self) -> Spec:
        setups: list[str] = []
        while (sql := self._block_after("setup")) is not None:
            setups.append(sql)
        teardown = self._block_after("teardown")
        sessions = [self._session(0)]
        while self._at("session"):
            sessions.append(self._session(len(sessions)))
        permutations: list[Permutation] = []
        while self._at("permutation"):
            permutations.append(self._permutation())
        if self._next.kind is not Kind.END:
            raise self._unexpected(_NEXT_PARTS[bool(permutations)])
        return Spec(tuple(setups), teardown, tuple(sessions), tuple(permutations))

    def _session(self, index: int) -> Session:
        self._keyword("session")
        name = self._take(Kind.NAME, "a session's name").text
        setup = self._block_after("setup")
        steps = [self._step(index)]
        while self._at("step"):
            steps.append(self._step(index))
        return Session(name, tuple(steps), setup, self._block_after("teardown"))

    def _step(self, session: int) -> Step:
        self._keyword("step")
        name = self._take(Kind.NAME, "a step's name")
        if name.text in self._steps:
            raise SpecError(f'the step name "{name.text}" is taken', name.line)
        step = Step(name.text, self._take(Kind.SQL, "an SQL block in braces").text, session)
        self._steps[name.text] = step
        return step

    def _permutation(self) -> Permutation:
        self._keyword("permutation")
        entries = [self._entry()]
        while self._next.kind is Kind.NAME:
            entries.append(self._entry())
        present = {step.name for step, _ in entries}
        return tuple(
            PlannedStep(step, tuple(self._linked(step, marker, present) for marker in markers))
            for step, markers in entries
        )

    def _entry(self) -> tuple[Step, list[_WrittenMarker]]:
        name = self._take(Kind.NAME, "a step's name")
        if name.text not in self._steps:
            raise SpecError(f'no session has a step "{name.text}"', name.line)
        return self._steps[name.text], self._markers() if self._at("(") else []

    def _markers(self) -> list[_WrittenMarker]:
        self._advance()
        markers = [self._marker()]
        while self._at(","):
            self._advance()
            markers.append(self._marker())
        if not self._at(")"):
            raise self._unexpected('"," or ")"')
        self._advance()
        return markers

    def _marker(self) -> _WrittenMarker:
        if self._at("*"):
            self._advance()
            return _WrittenMarker(None, None)
        name = self._take(Kind.NAME, 'a step\'s name or "*"')
        if not self._at("notices"):
            return _WrittenMarker(name, None)
        self._advance()
        return _WrittenMarker(name, int(self._take(Kind.NUMBER, "a number of notices").text))

    def _linked(self, holder: Step, marker: _WrittenMarker, present: set[str]) -> Marker:
        """Look the marker's step up; only steps of the same permutation can run beside it."""
        if marker.name is None:
            return WaitsOnce()
        if marker.name.text not in present:
            raise SpecError(
                f'"{holder.name}" waits for "{marker.name.text}", which is not in this permutation',
                marker.name.line,
            )
        other = self._steps[marker.name.text]
        if other.session == holder.session:
            raise SpecError(f'"{holder.name}" cannot wait for its own session', marker.name.line)
        return UntilDone(other) if marker.notices is None else UntilNotices(other, marker.notices)

    def _block_after(self, keyword: str) -> str | None:
        if not self._at(keyword):
            return None
        self._advance()
        return self._take(Kind.SQL, "an SQL block in braces").text

    def _at(self, text: str) -> bool:
        return self._next.kind in {Kind.KEYWORD, Kind.MARK} and self._next.text == text

    def _keyword(self, keyword: str) -> None:
        if not self._at(keyword):
            raise self._unexpected(f'"{keyword}"')
        self._advance()

    def _take(self, kind: Kind, wanted: str) -> Token:
        if self._next.kind is not kind:
            raise self._unexpected(wanted)
        return self._advance()

    def _advance(self) -> Token:
        token, self._next = self._next, next(self._tokens, self._next)
        return token

    def _unexpected(self, wanted: str) -> SpecError:
        return SpecError(f"expected {wanted}, found {self._next}", self._next.line)


_NEXT_PARTS = {
    False: '"step", "teardown", "session" or "permutation"',
    True: 'a step\'s name or "permutation"',
}
"""What may follow, by whether there was a permutation already."""
