"""Importing modules that hold adapters; what goes wrong in them is told in one sentence."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from functools import cache
from importlib.metadata import EntryPoint, packages_distributions, version
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from factflow_protocols.errors import FactflowError
from factflow_protocols.pipeline import ADAPTER_SPEC_ATTRIBUTE


class AdapterLoadError(FactflowError):
    """An adapter's module or class cannot be used."""

    code: ClassVar[str] = "adapter_broken"

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)


def import_user_module(name: str) -> ModuleType:
    """Import a module by name, or from a path to a `.py` file.

    The current directory, or the file's own, becomes importable (after what is installed). A file is
    imported under its stem. Raises `AdapterLoadError`.
    """
    if name.endswith(".py") or "/" in name or "\\" in name:
        return _import_file(Path(name))
    _make_importable(Path.cwd())
    return _import(name)


def load_entry_point(point: EntryPoint) -> Any:
    """Return what an entry point names. Raises `AdapterLoadError`."""
    module = _import(point.module)
    found: Any = module
    for attribute in filter(None, point.attr.split(".")):
        found = getattr(found, attribute, None)
    if found is None:
        raise AdapterLoadError(
            f"entry point {point.name!r}: {point.module} has no {point.attr!r}",
            "reinstall the package that brings it",
        )
    return found


def marked_classes(module: ModuleType) -> list[type]:
    """Return the adapters a module defines, or, being a package, re-exports from its own modules.

    Raises `AdapterLoadError` when there are none.
    """
    own = (module.__name__, f"{module.__name__}.")
    found = {
        value: None
        for value in vars(module).values()
        if isinstance(value, type)
        and ADAPTER_SPEC_ATTRIBUTE in vars(value)
        and (value.__module__ == own[0] or value.__module__.startswith(own[1]))
    }
    if not found:
        raise AdapterLoadError(
            f"module {module.__name__!r} holds no adapter",
            'mark a class with @register_adapter_type("name")',
        )
    return list(found)


def module_distribution(name: str, point: EntryPoint | None) -> tuple[str | None, str | None]:
    """Return name and version of the distribution a module was installed with, None when none was."""
    if point is not None and point.dist is not None:
        return point.dist.name, point.dist.version
    names = _distributions().get(name.partition(".")[0])
    return (names[0], version(names[0])) if names else (None, None)


def describe_failure(error: BaseException) -> str:
    """Return exception and place in one line: `ValueError: … (file.py, line 3)`.

    The place is the innermost one that is not Python's own import machinery.
    """
    what = f"{type(error).__name__}: {error}".rstrip(": ")
    if isinstance(error, SyntaxError) and error.filename:
        return f"{type(error).__name__}: {error.msg} ({error.filename}, line {error.lineno})"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<frozen") and frame.filename not in _OWN_FILES
    ]
    return f"{what} ({frames[-1].filename}, line {frames[-1].lineno})" if frames else what


_OWN_FILES = {__file__, importlib.__file__}


@cache
def _distributions() -> dict[str, list[str]]:
    return dict(packages_distributions())


def _import_file(path: Path) -> ModuleType:
    resolved = path.expanduser().resolve()
    if not resolved.is_file():
        raise AdapterLoadError(f"there is no file {path}", "give the path of a .py file")
    name = resolved.stem
    if resolved.suffix != ".py" or not name.isidentifier():
        raise AdapterLoadError(
            f"{path} cannot be imported under the name {name!r}",
            "name the file with letters, digits and `_`, ending in .py",
        )
    _make_importable(resolved.parent)
    loaded = sys.modules.get(name)
    spec = None if loaded else importlib.util.find_spec(name)
    found = getattr(loaded, "__file__", None) if loaded else spec.origin if spec else None
    if found is None or Path(found).resolve() != resolved:
        raise AdapterLoadError(
            f"{path} cannot be imported as {name!r}: that name belongs to {found or 'Python'}",
            "rename the file",
        )
    return _import(name)


def _make_importable(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
        importlib.invalidate_caches()


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise AdapterLoadError(
                f"there is no module {name!r}",
                "give the name of a module in the current directory or installed, or a path to a "
                ".py file",
            ) from error
        raise _broken(name, error) from error
    except (Exception, SystemExit) as error:
        raise _broken(name, error) from error


def _broken(name: str, error: BaseException) -> AdapterLoadError:
    return AdapterLoadError(
        f"module {name!r} cannot be imported: {describe_failure(error)}", "fix it and start again"
    )
