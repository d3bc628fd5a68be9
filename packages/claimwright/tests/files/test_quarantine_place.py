"""Where refused rows go when nobody says where."""

import os
from pathlib import Path

from claimwright.files.quarantine import quarantine_beside


def test_refused_rows_of_a_file_go_beside_it(tmp_path: Path) -> None:
    source = tmp_path / "weather.csv"
    for _ in range(2):  # whether it is there already or not
        assert quarantine_beside(source) == tmp_path / "weather.csv.quarantine.csv"
        source.touch()


def test_refused_rows_of_a_pipe_go_to_the_current_folder(tmp_path: Path) -> None:
    pipe = tmp_path / "stdin"
    os.mkfifo(pipe)
    assert quarantine_beside(pipe) == Path("stdin.quarantine.csv")
    assert quarantine_beside(Path("/dev/null")) == Path("null.quarantine.csv")
