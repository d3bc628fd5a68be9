"""Runs spec files one after another on one server, in one database."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from contention.isolation.databases import own_database
from contention.isolation.errors import RunAborted, SpecError, UnusableFile
from contention.isolation.lanes import conninfo_for
from contention.isolation.parsing import parse_spec
from contention.isolation.reporting import Transcript
from contention.isolation.runner import STEP_SECONDS, run_spec
from contention.isolation.servers import temporary_server
from contention.isolation.spec import Spec


@dataclass(frozen=True, slots=True)
class SpecFile:
    """A spec that was read and can be run."""

    path: Path
    spec: Spec

    @property
    def name(self) -> str:
        """The file's name without its ending; expected files have the same."""
        return self.path.stem


@dataclass(frozen=True, slots=True)
class Outcome:
    """One spec's run.

    Attributes:
        file: what was run.
        output: the transcript, complete or up to where the run ended early.
        problem: why it ended early, or nothing.
        seconds: how long it took.
    """

    file: SpecFile
    output: bytes
    problem: str | None
    seconds: float


def read_specs(paths: Sequence[Path]) -> list[SpecFile]:
    """Read spec files, and those of folders in the order of their names.

    Raises:
        SpecError: the first file that is malformed.
        UnusableFile: a file that cannot be read, or a folder without specs.
    """
    files: list[SpecFile] = []
    for path in paths:
        inside = sorted(path.glob("*.spec")) if path.is_dir() else [path]
        if not inside:
            raise UnusableFile(f"{path} has no files that end in .spec")
        files.extend(map(_read_spec, inside))
    return files


def _read_spec(path: Path) -> SpecFile:
    try:
        return SpecFile(path, parse_spec(path.read_bytes()))
    except SpecError as error:
        raise SpecError(error.problem, error.line, path) from None
    except OSError as error:
        raise UnusableFile(f"cannot read {path}: {error.strerror}") from error


@contextlib.contextmanager
def database_for_run(
    url: str | None,
    *,
    use_existing: bool = False,
    settings: Mapping[str, str] = MappingProxyType({}),
    extensions: Sequence[str] = (),
) -> Iterator[str]:
    """Yield the address of the database to run in.

    Args:
        url: a server, or None for one of the kit's own.
        use_existing: run in the database that ``url`` names instead of making one.
        settings: for the kit's own server.
        extensions: for the database that is made.

    Raises:
        ServerError: there is no server, or no database can be made on it.
    """
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(temporary_server(settings)) if url is None else url
        yield server if use_existing else stack.enter_context(own_database(server, extensions))


def run_file(
    file: SpecFile,
    *,
    database: str,
    write: Callable[[bytes], object],
    step_seconds: float = STEP_SECONDS,
) -> Outcome:
    """Run one spec in ``database`` and hand its transcript to ``write`` as it grows.

    Raises:
        ServerError: a connection could not be made.
    """
    pieces: list[bytes] = []

    def keep(piece: bytes) -> None:
        pieces.append(piece)
        write(piece)

    starts_at = time.monotonic()
    problem = None
    try:
        run_spec(
            file.spec,
            conninfo=conninfo_for(database, test_name=file.name),
            reporter=Transcript(keep),
            step_seconds=step_seconds,
        )
    except RunAborted as error:
        problem = str(error)
    return Outcome(file, b"".join(pieces), problem, time.monotonic() - starts_at)
