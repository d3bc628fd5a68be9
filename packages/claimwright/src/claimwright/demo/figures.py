"""The report's charts as Plotly figures: plain values, with colours by role instead of by number.

A colour is written ``var(--name)``; the page's script looks it up in the style sheet, so that the
same figure serves a light and a dark page. Numbers go in as exact text.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

from claimwright.demo.facts import DayFacts, StationFacts, Unbelieved
from claimwright.demo.labels import index_of, place_labels
from claimwright.demo.portfolio import CURRENCY, FIRST_DAY, LAST_DAY, RAIN
from claimwright.domain.money import from_minor, plain
from claimwright.domain.words import counted

Value = object
Spec = dict[str, Value]

_SYMBOLS: Final = ("circle", "diamond", "star")
_DASHES: Final = ("dot", "dash", "solid")
_STATION_DASHES: Final = {"EWR": "solid", "JFK": "dash", "LGA": "dot"}
_WIDE_HEIGHT, _NARROW_HEIGHT = 300, 260
_HOURS_HEIGHT = 420
_WIDE_MARGIN: Final = {"l": 56, "r": 164, "t": 16, "b": 44}
_NARROW_MARGIN: Final = {"l": 42, "r": 46, "t": 12, "b": 40}
# How many days a label is wide.
_WIDE_LABEL_DAYS, _NARROW_LABEL_DAYS = 48, 150
_TWO_PLACES = Decimal("0.01")
_MILLION, _THOUSAND = 1_000_000, 1_000


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart: what it shows, also in words, and how it is laid out on wide and narrow screens."""

    id: str
    title: str
    description: str
    data: Sequence[Spec]
    wide: Spec
    narrow: Spec


def year_figure(station: StationFacts, unbelieved: Sequence[Unbelieved]) -> Figure:
    """The index of every local day as bars, the tiers as lines, and marks where claims are."""
    word, axis = _words(station)
    data = [_bars(station), *_marks(station)]
    outliers = [found for found in unbelieved if _is_of(found, station)]
    top = _top(station, has_outlier=bool(outliers))
    data += [_outlier_mark(found, top) for found in outliers]
    paid = [day for day in station.days if day.claims]
    return Figure(
        id=f"year-{station.product}-{station.region}",
        title=station.region,
        description=(
            f"{word} at {station.region} for each day of 2013, with {len(paid)} days on which "
            f"claims were paid. The table below the chart has the same numbers."
        ),
        data=data,
        wide=_year_layout(station, axis, outliers, is_wide=True),
        narrow=_year_layout(station, axis, outliers, is_wide=False),
    )


def hours_figure(stations: Sequence[StationFacts], day: date) -> Figure:
    """The running index of one local day at each station, hour by hour, crossing the tiers."""
    found = [(station, _day_of(station, day)) for station in stations]
    data: list[Spec] = []
    for station, of_day in found:
        data += [_running(station, of_day), _crossings(station, of_day)]
    return Figure(
        id=f"hours-{day}",
        title=f"{day:%B} {day.day}, hour by hour",
        description=(
            "The rain since midnight at "
            + ", ".join(
                f"{station.region} {of_day.index} {station.unit}" for station, of_day in found
            )
            + f" at the end of {day}."
        ),
        data=data,
        wide=_hours_layout(found, day, is_wide=True),
        narrow=_hours_layout(found, day, is_wide=False),
    )


def compact_money(amount_minor: int) -> str:
    """An amount for a label: at most three digits before a unit of thousands or millions."""
    amount = from_minor(amount_minor, CURRENCY)
    if amount >= _MILLION:
        return f"{amount / _MILLION:.2f} M {CURRENCY}"
    if amount >= _THOUSAND:
        return f"{amount / _THOUSAND:.0f} k {CURRENCY}"
    return f"{amount:.0f} {CURRENCY}"


def two_places(value: Decimal) -> str:
    """A reading or index for people."""
    return f"{value.quantize(_TWO_PLACES, ROUND_HALF_EVEN):f}"


def _words(station: StationFacts) -> tuple[str, str]:
    if station.product == RAIN:
        return "Rain", f"Rain per local day ({station.unit})"
    return "The strongest hourly wind", f"Strongest hour of the day ({station.unit})"


def _is_of(found: Unbelieved, station: StationFacts) -> bool:
    return found.region == station.region and found.product.startswith(f"{station.product} ")


def _day_of(station: StationFacts, day: date) -> DayFacts:
    return next(found for found in station.days if found.day == day)


def _bars(station: StationFacts) -> Spec:
    known = [day for day in station.days if day.index is not None]
    return {
        "type": "bar",
        "x": [day.day.isoformat() for day in known],
        "y": [plain(index_of(day)) for day in known],
        "marker": {"color": "var(--bar)", "line": {"width": 0}},
        "hovertext": [
            f"{day.day:%a %d %b}: {two_places(index_of(day))} {station.unit}" for day in known
        ],
        "hoverinfo": "text",
        "name": _words(station)[0],
    }


def _marks(station: StationFacts) -> list[Spec]:
    """One trace a tier: the days whose highest tier it is and on which claims were paid."""
    traces = []
    for rank, (tier, _, _) in enumerate(station.thresholds):
        days = [day for day in station.days if day.claims and day.crossings[-1].tier == tier]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "cliponaxis": False,
                "x": [day.day.isoformat() for day in days],
                "y": [plain(index_of(day)) for day in days],
                "marker": {
                    "symbol": _SYMBOLS[rank % len(_SYMBOLS)],
                    "size": 11 + 2 * rank,
                    "color": f"var(--{tier})",
                    "line": {"width": 1.5, "color": "var(--surface)"},
                },
                "hovertext": [_day_text(day, station.unit) for day in days],
                "hoverinfo": "text",
                "name": tier,
            }
        )
    return traces


def _day_text(day: DayFacts, unit: str) -> str:
    crossed = "<br>".join(
        f"{crossing.tier} at {crossing.at:%H:%M %Z} with {two_places(crossing.index)} {unit}"
        for crossing in day.crossings
    )
    return (
        f"<b>{day.day:%a %d %b}: {two_places(index_of(day))} {unit}</b><br>{crossed}<br>"
        f"{counted(day.claims, 'claim')} paid "
        f"{from_minor(day.paid_minor, CURRENCY):,.2f} {CURRENCY}"
    )


def _outlier_mark(found: Unbelieved, top: Decimal) -> Spec:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [found.observed_at.date().isoformat()],
        "y": [plain(top * Decimal("0.94"))],
        "marker": {"symbol": "x", "size": 10, "color": "var(--wrong)"},
        "hovertext": [
            f"<b>{found.observed_at:%a %d %b %H:%M %Z}</b><br>not believed: {found.reason}"
        ],
        "hoverinfo": "text",
        "name": "not believed",
    }


def _top(station: StationFacts, *, has_outlier: bool = False) -> Decimal:
    """The top of the vertical axis: above all bars and lines, with room for labels."""
    highest = max(
        [threshold for _, threshold, _ in station.thresholds]
        + [day.index for day in station.days if day.index is not None]
    )
    return highest * (Decimal("1.45") if has_outlier else Decimal("1.28"))


def _year_layout(
    station: StationFacts, axis: str, outliers: Sequence[Unbelieved], *, is_wide: bool
) -> Spec:
    top = _top(station, has_outlier=bool(outliers))
    notes = _threshold_notes(station, is_wide=is_wide)
    notes += _day_notes(station, top, is_wide=is_wide)
    notes += [_outlier_note(found, top) for found in outliers]
    return {
        "height": _WIDE_HEIGHT if is_wide else _NARROW_HEIGHT,
        "margin": _WIDE_MARGIN if is_wide else _NARROW_MARGIN,
        "bargap": 0.15,
        "xaxis": {
            "type": "date",
            "range": [FIRST_DAY.isoformat(), LAST_DAY.isoformat()],
            "dtick": "M1" if is_wide else "M3",
            "tickformat": "%b",
            "ticklabelmode": "period",
            "title": {"text": "Local day, 2013 (New York)"},
        },
        "yaxis": {
            "range": ["0", plain(top)],
            "title": {"text": axis if is_wide else station.unit},
        },
        "shapes": _threshold_lines(station),
        "annotations": notes,
    }


def _threshold_lines(station: StationFacts) -> list[Spec]:
    return [
        {
            "type": "line",
            "xref": "paper",
            "x0": 0,
            "x1": 1,
            "y0": plain(threshold),
            "y1": plain(threshold),
            "line": {
                "color": f"var(--{tier})",
                "width": 1.5,
                "dash": _DASHES[rank % len(_DASHES)],
            },
        }
        for rank, (tier, threshold, _) in enumerate(station.thresholds)
    ]


def _threshold_notes(station: StationFacts, *, is_wide: bool) -> list[Spec]:
    """Names of the lines, beside the chart; on a narrow screen what they pay alone."""
    return [
        {
            "xref": "paper",
            "x": 1,
            "xanchor": "left",
            "xshift": 6,
            "y": plain(threshold),
            "yanchor": "middle",
            "text": f"{tier}: {plain(percent)} % from {plain(threshold)} {station.unit}"
            if is_wide
            else f"{plain(percent)} %",
            "showarrow": False,
            "font": {"size": 11, "color": "var(--text)"},
        }
        for tier, threshold, percent in station.thresholds
    ]


def _day_notes(station: StationFacts, top: Decimal, *, is_wide: bool) -> list[Spec]:
    """How many claims and how much, at the days that paid most, as far as they have room."""
    days = _WIDE_LABEL_DAYS if is_wide else _NARROW_LABEL_DAYS
    return [
        {
            "x": box.day.day.isoformat(),
            "y": plain(index_of(box.day)),
            "text": f"{box.day.day:%b} {box.day.day.day}: {counted(box.day.claims, 'claim')}<br>"
            f"<b>{compact_money(box.day.paid_minor)}</b>",
            "showarrow": False,
            "yshift": 24,
            "xanchor": box.anchor,
            "align": "center",
            "font": {"size": 11, "color": "var(--text)"},
            "bgcolor": "var(--veil)",
        }
        for box in place_labels(station.days, days, top)
    ]


def _outlier_note(found: Unbelieved, top: Decimal) -> Spec:
    return {
        "x": found.observed_at.date().isoformat(),
        "y": plain(top * Decimal("0.94")),
        "text": f"{two_places(found.value)} mph: not believed",
        "showarrow": False,
        "xanchor": "left",
        "xshift": 10,
        "font": {"size": 11, "color": "var(--wrong)"},
        "bgcolor": "var(--veil)",
    }


def _running(station: StationFacts, day: DayFacts) -> Spec:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [_wall_clock(hour.at) for hour in day.hours],
        "y": [plain(hour.index) for hour in day.hours],
        "line": {
            "shape": "hv",
            "width": 2.5,
            "color": f"var(--{station.region.lower()})",
            "dash": _STATION_DASHES.get(station.region, "solid"),
        },
        "hovertext": [
            f"{station.region} {hour.at:%H:%M}: {two_places(hour.index)} {station.unit} "
            f"(+{two_places(hour.value)})"
            for hour in day.hours
        ],
        "hoverinfo": "text",
        "name": station.region,
    }


def _crossings(station: StationFacts, day: DayFacts) -> Spec:
    ranks = {tier: rank for rank, (tier, _, _) in enumerate(station.thresholds)}
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [_wall_clock(crossing.at) for crossing in day.crossings],
        "y": [plain(crossing.index) for crossing in day.crossings],
        "marker": {
            "symbol": [_SYMBOLS[ranks[found.tier] % len(_SYMBOLS)] for found in day.crossings],
            "size": 13,
            "color": [f"var(--{crossing.tier})" for crossing in day.crossings],
            "line": {"width": 1.5, "color": "var(--surface)"},
        },
        "hovertext": [
            f"<b>{station.region} {found.at:%H:%M %Z}: {found.tier}</b><br>"
            f"{two_places(found.index)} {station.unit} since midnight"
            for found in day.crossings
        ],
        "hoverinfo": "text",
        "name": f"{station.region} tiers",
    }


def _hours_layout(
    found: Sequence[tuple[StationFacts, DayFacts]], day: date, *, is_wide: bool
) -> Spec:
    first = found[0][0]
    top = _top(first)
    last = max(hour.at for _, of_day in found for hour in of_day.hours)
    return {
        "height": _HOURS_HEIGHT if is_wide else _WIDE_HEIGHT,
        "margin": _WIDE_MARGIN if is_wide else _NARROW_MARGIN,
        "xaxis": {
            "type": "date",
            "range": [f"{day} 00:00", f"{day} 23:59"],
            "dtick": (2 if is_wide else 6) * 3_600_000,
            "tickformat": "%H:%M",
            "title": {"text": f"Local time on {day} (New York)"},
        },
        "yaxis": {
            "range": ["0", plain(top)],
            "title": {"text": f"Rain since midnight ({first.unit})" if is_wide else first.unit},
        },
        "shapes": _threshold_lines(first),
        "annotations": [
            *_threshold_notes(first, is_wide=is_wide),
            *_end_notes(found, _wall_clock(last)),
        ],
    }


def _end_notes(found: Iterable[tuple[StationFacts, DayFacts]], at: str) -> list[Spec]:
    """Each line's name and final value above it, the highest first, 15 pixels apart."""
    ends = sorted(found, key=lambda item: index_of(item[1]), reverse=True)
    highest = index_of(ends[0][1])
    return [
        {
            "x": at,
            "y": plain(highest),
            "text": f"{station.region} {two_places(index_of(day))} {station.unit}",
            "showarrow": False,
            "xanchor": "right",
            "yanchor": "bottom",
            "yshift": 4 + 15 * (len(ends) - 1 - place),
            "font": {"size": 12, "color": f"var(--{station.region.lower()})"},
        }
        for place, (station, day) in enumerate(ends)
    ]


def _wall_clock(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}"


def figures_as_json(figures: Iterable[Figure]) -> Mapping[str, Spec]:
    """What the page's script draws, by the id of the chart."""
    return {
        figure.id: {"data": figure.data, "wide": figure.wide, "narrow": figure.narrow}
        for figure in figures
    }
