"""A transcript is equal to an expected file to the byte, or the difference is shown."""

from pathlib import Path

import pytest

from contention.isolation.comparison import compare, missing_part


def test_any_variant_may_be_equal(tmp_path: Path) -> None:
    (tmp_path / "spec.out").write_bytes(b"one\n")
    (tmp_path / "spec_1.out").write_bytes(b"two\n")
    assert compare("spec", b"two\n", tmp_path).equal_to == "spec_1.out"


def test_files_of_other_specs_are_no_variants(tmp_path: Path) -> None:
    for name in ("spec-2.out", "spec_10.out", "spec_a.out", "other.out"):
        (tmp_path / name).write_bytes(b"one\n")
    comparison = compare("spec", b"one\n", tmp_path)
    assert comparison.equal_to is None
    assert not comparison.diff


def test_white_space_counts(tmp_path: Path) -> None:
    (tmp_path / "spec.out").write_bytes(b"a b\n")
    assert compare("spec", b"a  b\n", tmp_path).equal_to is None


def test_the_diff_is_taken_from_the_nearest_variant(tmp_path: Path) -> None:
    (tmp_path / "spec.out").write_bytes(b"a\nb\nc\nd\n")
    (tmp_path / "spec_1.out").write_bytes(b"1\n2\n3\nx\n")
    assert compare("spec", b"1\n2\n3\n4", tmp_path).diff == (
        "--- expected/spec_1.out\n+++ output\n@@ -1,4 +1,4 @@\n 1\n 2\n 3\n-x\n+4\n\\ no line end\n"
    )


@pytest.mark.parametrize(
    ("message", "part"),
    [
        (b'could not access file "my_module": No such file or directory', "my_module"),
        (b'extension "my_extension" is not available', "my_extension"),
        (b"prepared transactions are disabled", "prepared transactions"),
        (b"division by zero", None),
    ],
)
def test_what_the_server_lacks_is_read_from_its_errors(message: bytes, part: str | None) -> None:
    assert missing_part(b"step x: LOAD;\nERROR:  " + message + b"\nstep y: ;\n") == part
