"""Adapters a pipeline can name: `/api/v1/adapters`."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter

from factflow_engine.registry import RegisteredAdapter
from factflow_server.api.dependencies import Services
from factflow_server.api.schemas.adapters import (
    AdapterDetailSchema,
    AdapterList,
    AdapterSchema,
    BrokenAdapterSchema,
)

router = APIRouter(prefix="/adapters", tags=["adapters"])


@router.get("", operation_id="list_adapters")
async def list_adapters(services: Services) -> AdapterList:
    """List adapters by type, and those whose module cannot be loaded."""
    adapters, failures = services.registry.all()
    shown = await asyncio.to_thread(lambda: [_fields(adapter) for adapter in adapters])
    return AdapterList(
        adapters=[AdapterSchema(**fields) for fields in shown],
        broken=[
            BrokenAdapterSchema(type=name, error=error.message) for name, error in failures.items()
        ],
    )


@router.get("/{adapter_type}", operation_id="get_adapter")
async def get_adapter(adapter_type: str, services: Services) -> AdapterDetailSchema:
    """Get an adapter with the JSON schema of its config."""
    adapter = services.registry.get(adapter_type)
    fields = await asyncio.to_thread(_fields, adapter)
    return AdapterDetailSchema(**fields, config_schema=adapter.config_schema())


def _fields(adapter: RegisteredAdapter) -> dict[str, Any]:
    """Return what is shown of an adapter; reads its files to see whether they changed."""
    return {
        "type": adapter.type,
        "description": adapter.description,
        "version": adapter.version,
        "distribution": adapter.distribution,
        "module": adapter.module,
        "changed_on_disk": adapter.changed_on_disk(),
    }
