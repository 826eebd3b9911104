"""Which adapter types there are, and how to make one.

Types come from the entry-point group `factflow.adapters` (`type = "module:Class"`), imported when a type
is first asked for, and from modules the user names, imported at once. One broken module costs its own
types and nobody else's.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any, ClassVar

from pydantic import BaseModel

from factflow_engine.adapter_modules import (
    AdapterLoadError,
    describe_failure,
    import_user_module,
    load_entry_point,
    marked_classes,
    module_distribution,
)
from factflow_engine.adapter_version import LoadedSource, loaded_source
from factflow_engine.config.field_errors import adapter_config_issues
from factflow_engine.config.issues import ConfigurationError, ValidationReport, suggest_name
from factflow_engine.config.models import NAME_PATTERN
from factflow_engine.config.secrets import resolve_environment
from factflow_protocols.errors import FactflowError
from factflow_protocols.pipeline import ADAPTER_SPEC_ATTRIBUTE, AdapterSpec, BatchAdapter

ENTRY_POINT_GROUP = "factflow.adapters"

AdapterClass = type[Any]
ConfigClass = type[BaseModel]


class UnknownAdapterError(FactflowError):
    """No adapter has this type name."""

    code: ClassVar[str] = "adapter_not_found"

    def __init__(self, type_name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        super().__init__(
            f"no adapter of type {type_name!r}",
            hint=suggest_name(type_name, names)
            or "install a package with adapters, or name a module with --adapters",
        )
        self.type = type_name


class DuplicateAdapterError(FactflowError):
    """Two adapters claim one type name."""

    code: ClassVar[str] = "adapter_duplicate"

    def __init__(self, type_name: str, first: str, second: str) -> None:
        super().__init__(
            f"two adapters are called {type_name!r}: {first} and {second}",
            hint="rename one of them, or leave its package or module out",
        )


@dataclass(frozen=True, slots=True)
class RegisteredAdapter:
    """An adapter class that is loaded, and what is known of its code."""

    type: str
    cls: AdapterClass
    config_model: ConfigClass
    description: str
    module: str
    distribution: str | None
    """Name of the installed distribution it came with; None for a user's own module."""
    version: str
    """See `factflow_engine.adapter_version`."""
    source: LoadedSource = field(repr=False)

    @property
    def handles_batches(self) -> bool:
        """Tell whether the class has `process_batch`."""
        return issubclass(self.cls, BatchAdapter)

    @property
    def ends_messages(self) -> bool:
        """Tell whether the class says (`ends_messages = True`) that it ends some messages' way: by
        returning None, or by emitting nothing."""
        return bool(getattr(self.cls, "ends_messages", False))

    def changed_on_disk(self) -> bool:
        """Tell whether a file it was loaded from has changed or is gone. Reads those files."""
        return bool(self.source.changed_files())

    def config_schema(self) -> dict[str, Any]:
        """Return the JSON schema of its settings."""
        return self.config_model.model_json_schema()


class AdapterRegistry:
    """Adapter types by name. Entry points are imported on first use; not safe for use by threads."""

    def __init__(self) -> None:
        self._loaded: dict[str, RegisteredAdapter] = {}
        self._entry_points: dict[str, EntryPoint] = {}
        self._failures: dict[str, AdapterLoadError] = {}

    @classmethod
    def discover(cls, modules: Sequence[str] = ()) -> AdapterRegistry:
        """Return a registry of everything installed, and of the given modules.

        A module is a name that can be imported (the current directory counts) or a path to a `.py` file.
        Raises `AdapterLoadError` for a module that cannot be loaded or holds no adapter, and
        `DuplicateAdapterError`.
        """
        registry = cls()
        for point in entry_points(group=ENTRY_POINT_GROUP):
            other = registry._entry_points.setdefault(point.name, point)
            if other.value != point.value:
                raise DuplicateAdapterError(point.name, _origin(other), _origin(point))
        for name in modules:
            module = import_user_module(name)
            for adapter_class in marked_classes(module):
                registry.register(adapter_class)
        return registry

    def register(self, adapter_class: AdapterClass) -> RegisteredAdapter:
        """Add a class marked by `@register_adapter_type`.

        Raises `AdapterLoadError` when it is not one, and `DuplicateAdapterError`.
        """
        adapter = _registered(adapter_class)
        where = f"{adapter.module}:{adapter_class.__qualname__}"
        point = self._entry_points.get(adapter.type)
        if point is not None and point.value != where:
            raise DuplicateAdapterError(adapter.type, _origin(point), where)
        other = self._loaded.setdefault(adapter.type, adapter)
        if other.cls is not adapter_class:
            first = f"{other.module}:{other.cls.__qualname__}"
            raise DuplicateAdapterError(adapter.type, first, where)
        return other

    def types(self) -> tuple[str, ...]:
        """Return all type names, sorted; nothing is imported for it, so some may turn out broken."""
        return tuple(sorted(self._loaded.keys() | self._entry_points.keys()))

    def get(self, type_name: str) -> RegisteredAdapter:
        """Return an adapter, importing it if need be.

        Raises `UnknownAdapterError`, or `AdapterLoadError` when its module is broken (the same one
        again, without another try, until the process ends).
        """
        if type_name in self._loaded:
            return self._loaded[type_name]
        if type_name in self._failures:
            raise self._failures[type_name]
        point = self._entry_points.get(type_name)
        if point is None:
            raise UnknownAdapterError(type_name, self.types())
        try:
            adapter = _registered(load_entry_point(point), point)
        except AdapterLoadError as error:
            self._failures[type_name] = error
            raise
        self._loaded[type_name] = adapter
        return adapter

    def all(self) -> tuple[list[RegisteredAdapter], dict[str, AdapterLoadError]]:
        """Import everything; return what there is, sorted by type, and what is broken, by type."""
        adapters = []
        for type_name in self.types():
            try:
                adapters.append(self.get(type_name))
            except AdapterLoadError as error:
                self._failures[type_name] = error
        return adapters, dict(self._failures)

    def build(
        self, type_name: str, config: Mapping[str, Any], environ: Mapping[str, str] | None = None
    ) -> Any:
        """Return a new adapter made from settings as they stand in the YAML.

        `${NAME}` references are resolved here, from `environ` or else the process's environment, and
        nowhere else, so that secrets never travel. Raises what `get` raises, `MissingVariableError`,
        `ConfigurationError` when the settings are not valid, and `AdapterLoadError` when the
        constructor fails.
        """
        adapter = self.get(type_name)
        variables = os.environ if environ is None else environ
        resolved = resolve_environment(config, variables, path=("config",))
        issues = adapter_config_issues(adapter.config_model, config, variables, path=("config",))
        if issues:
            raise ConfigurationError(ValidationReport(issues), f"adapter {type_name!r}")
        try:
            return adapter.cls(config=adapter.config_model.model_validate(resolved))
        except Exception as error:
            raise AdapterLoadError(
                f"adapter {type_name!r} cannot be made: {describe_failure(error)}"
            ) from error

    def changed(self, types: Iterable[str]) -> list[RegisteredAdapter]:
        """Return those of the given types whose code on disk is not the one loaded. Raises what
        `get` raises."""
        adapters = [self.get(type_name) for type_name in dict.fromkeys(types)]
        return [adapter for adapter in adapters if adapter.changed_on_disk()]


def _registered(adapter_class: Any, point: EntryPoint | None = None) -> RegisteredAdapter:
    """Check a class, and put together what is known of it."""
    spec = vars(adapter_class).get(ADAPTER_SPEC_ATTRIBUTE) if _is_class(adapter_class) else None
    name = point.value if point else getattr(adapter_class, "__qualname__", repr(adapter_class))
    if not isinstance(spec, AdapterSpec):
        raise AdapterLoadError(f"{name} is not marked as an adapter", "add @register_adapter_type")
    problem = _spec_problem(adapter_class, spec, point)
    if problem:
        raise AdapterLoadError(f"{name}: {problem}")
    module = sys.modules.get(adapter_class.__module__)
    source = loaded_source(module) if module else LoadedSource(())
    distribution, version = module_distribution(adapter_class.__module__, point)
    return RegisteredAdapter(
        type=spec.type_name,
        cls=adapter_class,
        config_model=spec.config_model,
        description=spec.description,
        module=adapter_class.__module__,
        distribution=distribution,
        version=source.version(version),
        source=source,
    )


def _spec_problem(adapter_class: type, spec: AdapterSpec, point: EntryPoint | None) -> str | None:
    if point is not None and point.name != spec.type_name:
        return f"the entry point is called {point.name!r}, the class {spec.type_name!r}"
    if not NAME_PATTERN.fullmatch(spec.type_name):
        return f"{spec.type_name!r} is not a name (letters, digits, `_`, `.`, `-`)"
    if not _is_class(spec.config_model) or not issubclass(spec.config_model, BaseModel):
        return "its config is not a pydantic model class"
    methods = ("process", "process_batch")
    if not any(callable(getattr(adapter_class, method, None)) for method in methods):
        return "it has neither `process` nor `process_batch`"
    return None


def _is_class(candidate: Any) -> bool:
    return isinstance(candidate, type)


def _origin(point: EntryPoint) -> str:
    distribution = point.dist.name if point.dist else "an unknown distribution"
    return f"{point.value} ({distribution})"
