"""What must hold before an execution may start; checked before anything is stored."""

from __future__ import annotations

import os
import re

from factflow_engine.adapter_version import CodeChangedError
from factflow_engine.config.models import PipelineGlobalConfig
from factflow_engine.config.secrets import resolve_environment
from factflow_engine.registry import AdapterRegistry
from factflow_execution.errors import LaunchRefusedError

_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def check_variables(config: PipelineGlobalConfig) -> None:
    """Raise `MissingVariableError` when settings refer to a variable that is not set."""
    for route_id, route in config.routes.items():
        for index, adapter in enumerate(route.adapters):
            path = ("routes", route_id, "adapters", index, "config")
            resolve_environment(adapter.config, os.environ, path=path)


def check_code(registry: AdapterRegistry, config: PipelineGlobalConfig) -> None:
    """Raise `CodeChangedError` when an adapter's files differ from what is loaded. Reads those files."""
    used = {stage.type for route in config.routes.values() for stage in route.adapters}
    changed = registry.changed(used)
    if changed:
        raise CodeChangedError(changed)


def check_tag_form(tag: str) -> None:
    """Raise `LaunchRefusedError` for what cannot be told from an execution id, or typed safely."""
    if not _TAG.fullmatch(tag) or _UUID.fullmatch(tag):
        raise LaunchRefusedError(
            f"{tag!r} cannot be a tag: letters, digits and . _ : - (at most 128), beginning with "
            "a letter or digit, and not of the form of an execution id",
        )
