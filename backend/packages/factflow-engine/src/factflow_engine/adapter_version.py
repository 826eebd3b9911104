"""Which code an adapter runs, and whether the files it came from have changed since.

An adapter's version is `<distribution version>+<first 12 hex digits of a SHA-256>`. The digest covers the
adapter's module and, followed through its import statements, every module of its own top-level package
(for a single file: every file it imports from its own folder). One file alone is hashed as it is; of
several, names and contents in the order of names. Imports are read from the source, so one inside a
function counts too; one made by `importlib` does not.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, ClassVar
from weakref import WeakKeyDictionary

from factflow_protocols.errors import FactflowError

if TYPE_CHECKING:
    from factflow_engine.registry import RegisteredAdapter

NO_VERSION = "0"
"""Stands for the distribution's version when the module belongs to none."""


@dataclass(frozen=True, slots=True)
class LoadedSource:
    """The files a module's code came from, each with the SHA-256 it had when it was loaded."""

    digests: tuple[tuple[str, Path, str], ...]

    @property
    def digest(self) -> str:
        """Return one SHA-256 in hex for all files; '' when the source is not at hand."""
        if len(self.digests) <= 1:
            return self.digests[0][2] if self.digests else ""
        listing = "".join(f"{name} {digest}\n" for name, _, digest in sorted(self.digests))
        return hashlib.sha256(listing.encode()).hexdigest()

    def version(self, distribution_version: str | None) -> str:
        """Return the adapter version."""
        return f"{distribution_version or NO_VERSION}+{self.digest[:12] or 'nosource'}"

    def changed_files(self) -> list[Path]:
        """Return the files that differ from what was loaded, or are gone. Reads them all."""
        return [path for _, path, digest in self.digests if _file_digest(path) != digest]


class CodeChangedError(FactflowError):
    """The code in memory is not the code on disk: a run would not be what its author sees."""

    code: ClassVar[str] = "code_changed"

    def __init__(self, adapters: Sequence[RegisteredAdapter]) -> None:
        changed: dict[Path, list[str]] = {}
        for adapter in adapters:
            for path in adapter.source.changed_files():
                changed.setdefault(path, []).append(adapter.type)
        files = [f"{path} (adapter {', '.join(types)})" for path, types in changed.items()]
        super().__init__(
            f"changed on disk since the server loaded it: {'; '.join(files)}",
            hint="restart the server, or pass --loaded-code to run what is loaded",
        )
        self.types = [adapter.type for adapter in adapters]


_known: WeakKeyDictionary[ModuleType, LoadedSource] = WeakKeyDictionary()


def loaded_source(module: ModuleType) -> LoadedSource:
    """Return the files behind a module, as they were when this was first asked: to be called right
    after loading it.

    A module without a source file (built in, from an archive) has none, and never counts as changed.
    """
    if module not in _known:
        _known[module] = _hash_files(module)
    return _known[module]


def _hash_files(module: ModuleType) -> LoadedSource:
    path = _source_path(module)
    if path is None:
        return LoadedSource(())
    root = _Root.of(module, path)
    waiting, found = [(module.__name__, path)], dict[str, tuple[Path, str]]()
    while waiting:
        name, file = waiting.pop()
        if name in found:
            continue
        try:
            source = file.read_bytes()
        except OSError:
            continue
        found[name] = (file, hashlib.sha256(source).hexdigest())
        waiting.extend(root.imported(name, file, source))
    return LoadedSource(tuple((name, *entry) for name, entry in sorted(found.items())))


@dataclass(frozen=True, slots=True)
class _Root:
    """The folder and the prefix of names within which imports count as the adapter's own."""

    folder: Path
    package: str

    @classmethod
    def of(cls, module: ModuleType, path: Path) -> _Root:
        top, dot, _ = module.__name__.partition(".")
        package = sys.modules.get(top)
        places = list(getattr(package, "__path__", []))
        if dot or places:
            folder = Path(places[0]).parent if places else path.parent
            return cls(folder, top)
        return cls(path.parent, "")

    def imported(self, name: str, file: Path, source: bytes) -> Iterator[tuple[str, Path]]:
        """Yield name and file of each of our own modules that a source imports."""
        for target in _import_targets(source, name, is_package=file.name == "__init__.py"):
            own = target == self.package or target.startswith(f"{self.package}.")
            if (own or not self.package) and (place := self._file(target)) is not None:
                yield target, place

    def _file(self, name: str) -> Path | None:
        if not self.package and self.folder.name in {"site-packages", "dist-packages"}:
            return None
        place = self.folder.joinpath(*name.split("."))
        for candidate in (place.with_name(f"{place.name}.py"), place / "__init__.py"):
            if candidate.is_file():
                return candidate
        return None


@functools.lru_cache(maxsize=256)
def _import_targets(source: bytes, name: str, *, is_package: bool) -> tuple[str, ...]:
    """Return every dotted name that may be a module imported by a source; none when it is no Python.

    Kept, as the adapters of one package import much of the same.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return ()
    parents, targets = name.split("."), list[str]()
    for node in _import_statements(tree.body):
        if isinstance(node, ast.Import):
            targets.extend(alias.name for alias in node.names)
            continue
        up = node.level - (1 if is_package else 0)
        base = parents[: len(parents) - up] if node.level else []
        start = ".".join([*base, *([node.module] if node.module else [])])
        if start:
            targets.append(start)
            targets.extend(f"{start}.{alias.name}" for alias in node.names if alias.name != "*")
    return tuple(targets)


def _import_statements(body: Iterable[ast.AST]) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield the imports among statements, however deep; expressions, most of a tree, hold none."""
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        else:
            for part in ("body", "handlers", "orelse", "finalbody", "cases"):
                yield from _import_statements(getattr(node, part, ()))


def _source_path(module: ModuleType) -> Path | None:
    file = getattr(module, "__file__", None)
    if not file or not file.endswith(".py"):
        return None
    path = Path(file).resolve()
    return path if path.is_file() else None


def _file_digest(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None
