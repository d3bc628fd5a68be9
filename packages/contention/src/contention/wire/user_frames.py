"""Which code is the user's: neither the kit, the standard library nor an installed package."""

import os
import sysconfig
from collections.abc import Iterable, Iterator
from enum import Enum, auto
from functools import lru_cache
from pathlib import Path
from types import FrameType
from typing import Final

_KIT: Final = str(Path(__file__).parents[1])
_STANDARD: Final = tuple({sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")})
_PACKAGES: Final = ("site-packages", "dist-packages")
_MOST_FRAMES: Final = 1_000


class Owner(Enum):
    """Whose code a frame runs."""

    USER = auto()
    PACKAGE = auto()
    STANDARD = auto()
    KIT = auto()


def owner_of(frame: FrameType) -> Owner:
    """Whose code a frame runs; code without a file counts as the standard library's."""
    return _owner_of(frame.f_code.co_filename)


def place_in(frames: Iterable[FrameType]) -> str:
    """The user's line among frames from the innermost on, as in ``shop.py:12``; or empty."""
    return next((_place(one) for one in frames if owner_of(one) is Owner.USER), "")


def outwards(frame: FrameType | None) -> Iterator[FrameType]:
    """A frame and its callers, from the innermost on."""
    for _ in range(_MOST_FRAMES):
        if frame is None:
            return
        yield frame
        frame = frame.f_back


@lru_cache(maxsize=4_096)
def _owner_of(file: str) -> Owner:
    if file.startswith("<"):
        return Owner.STANDARD
    if not set(_PACKAGES).isdisjoint(Path(file).parts):
        return Owner.PACKAGE
    if Path(file).is_relative_to(_KIT):
        return Owner.KIT
    is_standard = any(Path(file).is_relative_to(folder) for folder in _STANDARD)
    return Owner.STANDARD if is_standard else Owner.USER


def _place(frame: FrameType) -> str:
    folder = os.getcwd()  # noqa: PTH109 - a plain name is the cheaper key, asked at every step
    return f"{_shown(frame.f_code.co_filename, folder)}:{frame.f_lineno}"


@lru_cache(maxsize=4_096)
def _shown(file: str, folder: str) -> str:
    path = Path(file)
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)
