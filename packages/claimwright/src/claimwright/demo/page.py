"""The report: one self-contained HTML page, with the charts' library inside."""

from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from claimwright.demo.expected import WETTEST_DAY
from claimwright.demo.facts import DemoFacts, StationFacts
from claimwright.demo.figures import (
    figures_as_json,
    hours_figure,
    two_places,
    year_figure,
)
from claimwright.demo.inputs import product_terms
from claimwright.demo.portfolio import RAIN, WIND
from claimwright.domain.errors import InvalidInputError
from claimwright.domain.money import format_money, from_minor, plain

if TYPE_CHECKING:
    from jinja2 import Environment

_TEMPLATES = Path(__file__).with_name("templates")


def write_report(facts: DemoFacts, stations: Sequence[StationFacts], target: Path) -> None:
    """Write the report; it loads nothing from anywhere and opens from a file.

    Raises:
        InvalidInputError: the extra ``demo`` is not installed, or the file cannot be written.
    """
    rain = [station for station in stations if station.product == RAIN]
    wind = [station for station in stations if station.product == WIND]
    hours = hours_figure(rain, WETTEST_DAY)
    years = {
        (station.product, station.region): year_figure(station, facts.quarantined)
        for station in stations
    }
    page = (
        _environment()
        .get_template("report.html.j2")
        .render(
            facts=facts,
            rain=[(station, years[station.product, station.region]) for station in rain],
            wind=[(station, years[station.product, station.region]) for station in wind],
            hours=hours,
            terms={terms.code: terms for terms in product_terms()},
            figures=figures_as_json([hours, *years.values()]),
            plotly=_plotly(),
            version=metadata.version("claimwright"),
        )
    )
    try:
        target.write_text(page, encoding="utf-8")
    except OSError as error:
        raise InvalidInputError(f"cannot write {target}: {error.strerror}") from error


def require_extra() -> None:
    """See that what the report is made with is there, before anything is done.

    Raises:
        InvalidInputError: the extra ``demo`` is not installed.
    """
    _environment()
    _plotly()


def _environment() -> "Environment":
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415 - an extra
    except ImportError:
        raise InvalidInputError(_NEEDS_EXTRA) from None
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., str]] = {
        "money": format_money,
        "amount": lambda minor, currency: f"{from_minor(minor, currency):,f}",
        "plain": plain,
        "count": lambda number: f"{number:,}",
        "two_places": two_places,
    }
    environment.filters.update(filters)
    return environment


def _plotly() -> str:
    try:
        from plotly.offline import get_plotlyjs  # noqa: PLC0415 - an extra
    except ImportError:
        raise InvalidInputError(_NEEDS_EXTRA) from None
    return str(get_plotlyjs())


_NEEDS_EXTRA = "the report of the demo needs its extra: pip install 'claimwright[demo]'"
