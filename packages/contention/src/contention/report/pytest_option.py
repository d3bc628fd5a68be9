"""The option ``--contention-report`` of pytest."""

from pathlib import Path

import pytest

from contention.report.write import ReportFolder

_OPTION = "--contention-report"


def add_report_option(group: pytest.OptionGroup) -> None:
    """Declare the option in the plugin's own group."""
    group.addoption(
        _OPTION,
        metavar="FOLDER",
        help="write a page with a diagram and a JSON document of every exploration there",
    )


def report_folder(config: pytest.Config) -> ReportFolder | None:
    """The folder that was asked for, seen from where pytest was started; `None` without one.

    Raises:
        pytest.UsageError: there is a file in its place.
    """
    option = config.getoption(_OPTION)
    if not option:
        return None
    folder = config.invocation_params.dir / Path(option)
    if folder.exists() and not folder.is_dir():
        raise pytest.UsageError(f"{_OPTION}: {folder} is not a folder")
    return ReportFolder(folder)
