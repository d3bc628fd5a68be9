"""Which code is the user's: neither the kit, the standard library nor an installed package."""

import os
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum, auto
from functools import lru_cache, partial
from pathlib import Path
from types import CodeType, FrameType
from typing import Final

_KIT: Final = str(Path(__file__).parents[1])
_STANDARD: Final = tuple({sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")})
_PACKAGES: Final = ("site-packages", "dist-packages")
_COMPILED: Final = ".pyx"
_MOST_FRAMES: Final = 1_000
_MOST_WRAPPERS: Final = 100


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


def place_at(frames: Iterable[tuple[FrameType, int]]) -> str:
    """The user's line among frames of an exception, from the innermost on; or empty."""
    own = ((frame, line) for frame, line in frames if owner_of(frame) is Owner.USER)
    return next((_place(frame, line) for frame, line in own), "")


def codes_of(body: object) -> tuple[CodeType, ...]:
    """The code of a worker's function: of what wraps it first, of the function itself last."""
    codes = []
    for _ in range(_MOST_WRAPPERS):
        if isinstance(body, partial):
            body = body.func
            continue
        called = body if hasattr(body, "__code__") else getattr(type(body), "__call__", None)  # noqa: B004 - not whether, but how it can be called
        code = getattr(getattr(body, "__func__", called), "__code__", None)
        if isinstance(code, CodeType):
            codes.append(code)
        body = getattr(body, "__wrapped__", None)
        if body is None:
            break
    return tuple(codes)


def asked_in(frames: Iterable[FrameType], codes: Sequence[CodeType]) -> str:
    """The user's line among frames, behind that of the worker's own function if it is another.

    As in ``shop.py:12 → stock.py:40``: who reads it knows the one, and the other asks.

    Args:
        frames: from the innermost on.
        codes: of the worker's function.
    """
    own = [frame for frame in frames if owner_of(frame) is Owner.USER]
    if not own:
        return ""
    asks = own[0]
    function = next((one for code in reversed(codes) for one in own if one.f_code is code), asks)
    if function is asks:
        return _place(asks)
    is_same_file = function.f_code.co_filename == asks.f_code.co_filename
    return f"{_place(function)} → {f':{asks.f_lineno}' if is_same_file else _place(asks)}"


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
    is_installed = not set(_PACKAGES).isdisjoint(Path(file).parts)
    if is_installed or file.endswith(_COMPILED):  # which says where it stood when it was built
        return Owner.PACKAGE
    if Path(file).is_relative_to(_KIT):
        return Owner.KIT
    is_standard = any(Path(file).is_relative_to(folder) for folder in _STANDARD)
    return Owner.STANDARD if is_standard else Owner.USER


def _place(frame: FrameType, line: int | None = None) -> str:
    folder = os.getcwd()  # noqa: PTH109 - a plain name is the cheaper key, asked at every step
    return f"{_shown(frame.f_code.co_filename, folder)}:{line or frame.f_lineno}"


@lru_cache(maxsize=4_096)
def _shown(file: str, folder: str) -> str:
    path = Path(file)
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)
