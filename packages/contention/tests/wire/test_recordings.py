"""Conversations of real drivers with real servers, replayed without either.

Each file holds what a proxy read from both sides, in order, and what the framing understood of it
when it was recorded. The lines keep that from changing unseen; that they are right is shown by the
tests which speak both sides by hand and by those on live servers.
"""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contention.wire.events import Answer
from contention.wire.postgres import PostgresFraming
from contention.wire.redis import RespFraming

from .strict_gate import StrictGate, described

RECORDINGS = sorted((Path(__file__).parent / "recordings").glob("*.json"))
LARGEST_TOTAL_BYTES = 200_000
QUESTION_BYTES = 8
"""The size of an SSLRequest."""


def load(path: Path) -> dict[str, Any]:
    recording: dict[str, Any] = json.loads(path.read_text())
    return recording


def chunks_of(conversation: dict[str, Any]) -> list[tuple[str, bytes]]:
    return [(side, base64.b64decode(text)) for side, text in conversation["chunks"]]


def replay(protocol: str, chunks: list[tuple[str, bytes]]) -> StrictGate:
    framing = PostgresFraming() if protocol == "postgres" else RespFraming()
    gate = StrictGate(framing)
    for side, data in chunks:
        if side == "c":
            gate.client(data)
        else:
            gate.server(data)
    return gate


def understood(gate: StrictGate) -> list[str]:
    return [described(request, gate.replies.get(request.number)) for request in gate.requests]


def test_the_recordings_are_there_and_small() -> None:
    assert len(RECORDINGS) >= 15
    assert sum(path.stat().st_size for path in RECORDINGS) < LARGEST_TOTAL_BYTES


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: str(path.stem))
def test_a_recorded_conversation_is_understood_as_it_was(path: Path) -> None:
    recording = load(path)
    for conversation in recording["conversations"]:
        chunks = chunks_of(conversation)
        gate = replay(recording["protocol"], chunks)
        assert gate.framing.failure is None
        assert understood(gate) == conversation["expected"]


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: str(path.stem))
def test_a_recorded_conversation_passes_unchanged(path: Path) -> None:
    recording = load(path)
    for conversation in recording["conversations"]:
        chunks = chunks_of(conversation)
        gate = replay(recording["protocol"], chunks)
        to_server, to_client = gate.take_output()
        sent = b"".join(data for side, data in chunks if side == "c")
        answered = b"".join(data for side, data in chunks if side == "s")
        # A gate answers a request for encryption itself, so neither side's stream has that.
        questions = sum(isinstance(one, Answer) for one in gate.others)
        assert to_server == sent[questions * QUESTION_BYTES :]
        assert to_client == b"N" * questions + answered


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: str(path.stem))
@settings(max_examples=10)
@given(size=st.integers(1, 40))
def test_any_chunking_of_a_recording_is_understood_alike(path: Path, size: int) -> None:
    recording = load(path)
    conversation = max(recording["conversations"], key=lambda one: len(one["chunks"]))
    chunks = [
        (side, whole[start : start + size])
        for side, whole in chunks_of(conversation)
        for start in range(0, len(whole), size)
    ]
    gate = replay(recording["protocol"], chunks)
    assert understood(gate) == conversation["expected"]
