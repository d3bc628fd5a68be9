"""What tests of the demo share: one small run of it, as people start it."""

import json
from collections.abc import Iterator

import pytest

from support.demo import SMALL, EndedDemo, demo_process, new_folder


@pytest.fixture(scope="session")
def small_demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EndedDemo]:
    """A demo of sixty policies."""
    output = tmp_path_factory.mktemp("demo")
    with new_folder() as parent:
        folder = parent / "data"
        arguments = ["--policies", SMALL, "--output", output, "--folder", folder, "--json"]
        with demo_process(*map(str, arguments)) as process:
            printed, messages = process.communicate()
        assert process.returncode == 0, messages
        yield EndedDemo(json.loads(printed), output, folder)
