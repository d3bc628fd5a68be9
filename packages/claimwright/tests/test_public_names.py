"""The package's own names: all there, none loaded before it is used."""

import subprocess
import sys

import pytest

import claimwright


@pytest.mark.parametrize("name", claimwright.__all__)
def test_every_public_name_can_be_imported(name: str) -> None:
    assert getattr(claimwright, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        claimwright.no_such_name  # type: ignore[attr-defined]  # noqa: B018 - the access is the test


def test_importing_the_package_loads_nothing_else() -> None:
    program = "import claimwright, sys; print('sqlalchemy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.strip() == b"False"
