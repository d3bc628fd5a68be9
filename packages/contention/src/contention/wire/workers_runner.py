"""What a worker's process runs when the worker is a function: finds it by name and calls it.

The kit starts this file by its path, with the path of a request as its argument, and reads what
became of it from a file beside the request. The request is JSON, so that it can be read before any
module of the user's can be found: it says where modules are found.
"""

import asyncio
import importlib
import importlib.util
import inspect
import io
import json
import pickle
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Final

MAIN: Final = "contention_worker_main"
"""The name of a script's module in a worker's process, where the script is not the main one."""


def play(request: Mapping[str, Any], folder: Path) -> int:
    """Call the function that a request names, and write down what became of it."""
    try:
        _write(folder, {"value": _called(request, folder)})
    except BaseException as error:  # noqa: BLE001 - whatever ended it is its outcome
        traceback.print_exc()
        described = f"{type(error).__qualname__}: {error}"
        _write(folder, {"error": _rebuilt(error), "described": described})
        return 1
    return 0


def _called(request: Mapping[str, Any], folder: Path) -> object:
    from contention.wire.servers import Links  # noqa: PLC0415 - not before it can be found

    module = found(request["module"], request["file"])
    function: Any = module
    for name in request["name"].split("."):
        function = getattr(function, name)
    arguments = pickle.loads((folder / "arguments").read_bytes())  # noqa: S301 - of the kit's own
    outcome = function(Links(**request["links"]), *arguments)
    return asyncio.run(_awaited(outcome)) if inspect.isawaitable(outcome) else outcome


async def _awaited(outcome: Any) -> object:  # noqa: ANN401 - of the user's
    return await outcome


def found(name: str, file: str) -> ModuleType:
    """The module of that name, from that file even where no import would find it by its name."""
    if name == "__main__":
        return _from_file(MAIN, file)
    try:
        module = importlib.import_module(name)
    except ImportError:
        return _from_file(name, file)
    same = getattr(module, "__file__", None) == file
    return module if same or not file else _from_file(name, file)


def _from_file(name: str, file: str) -> ModuleType:
    """Load a file under a name; its packages are the folders above it."""
    parents = name.split(".")[:-1]
    for depth, folder in zip(range(len(parents), 0, -1), Path(file).parents, strict=False):
        package = ".".join(parents[:depth])
        if package not in sys.modules:
            sys.modules[package] = ModuleType(package)
            sys.modules[package].__path__ = [str(folder)]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no module", name=name)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _rebuilt(error: BaseException) -> bytes:
    """The exception for the other side; empty when it would not come out again as it is."""
    try:
        pickled = pickle.dumps(error)
        again = pickle.loads(pickled)  # noqa: S301 - made in the line before
    except Exception:  # noqa: BLE001 - a class of the user's may fail in any way
        return b""
    return pickled if type(again) is type(error) and str(again) == str(error) else b""


def _write(folder: Path, told: Mapping[str, object]) -> None:
    pickled = pickle.dumps(told)
    (folder / "outcome").write_bytes(pickled)


def main(arguments: list[str]) -> int:
    """Play the request whose path is given."""
    path = Path(arguments[1])
    request = json.loads(path.read_text(encoding="utf-8"))
    sys.path[:] = request["path"]
    sys.argv = [request["file"]]
    return play(request, path.parent)


class _Loader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - as the base class
        return super().find_class("__main__" if module == MAIN else module, name)


def loaded(pickled: bytes) -> Any:  # noqa: ANN401 - what a worker returned or raised
    """What a worker's process pickled, in the process of the kit."""
    return _Loader(io.BytesIO(pickled)).load()


if __name__ == "__main__":
    sys.exit(main(sys.argv))
