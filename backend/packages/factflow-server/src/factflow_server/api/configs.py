"""Stored configs: `/api/v1/configs`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Response

from factflow_execution.config_repository import ActiveFilter
from factflow_server.api.dependencies import Services
from factflow_server.api.schemas.configs import (
    ConfigBody,
    ConfigDetailSchema,
    ConfigPage,
    ConfigSchema,
    NewConfigBody,
    ReportSchema,
    ValidateBody,
)
from factflow_server.api.schemas.executions import ExecutionSchema, StartBody, Tag
from factflow_server.api.schemas.paging import Limit, Offset
from factflow_server.api.starting import KeyHeader, start

router = APIRouter(prefix="/configs", tags=["configs"])


@router.post("", status_code=201, operation_id="create_config")
async def create_config(body: NewConfigBody, services: Services) -> ConfigDetailSchema:
    """Store a config; one with errors too, which then is not runnable. 400 when it does not parse."""
    stored = await services.configs.create(
        body.config_yaml,
        name=body.name,
        description=body.description,
        source_type=body.source_type,
        source_path=body.source_path,
    )
    return ConfigDetailSchema.of(stored)


@router.get("", operation_id="list_configs")
async def list_configs(
    services: Services, limit: Limit = 100, offset: Offset = 0, active: ActiveFilter = "true"
) -> ConfigPage:
    """List configs, newest first."""
    page = await services.configs.list(active, limit, offset)
    return ConfigPage(
        total=page.total,
        limit=limit,
        offset=offset,
        has_more=page.has_more,
        configs=[ConfigSchema.of(stored) for stored in page.rows],
    )


@router.post("/validate", operation_id="validate_config")
async def validate_config(body: ValidateBody, services: Services) -> ReportSchema:
    """Validate YAML without storing it; 200 whatever is found."""
    report = await services.configs.validate(body.config_yaml, body.source or "config")
    return ReportSchema.model_validate(report)


@router.get("/{config_id}", operation_id="get_config")
async def get_config(config_id: str, services: Services) -> ConfigDetailSchema:
    """Get a config with its text."""
    return ConfigDetailSchema.of(await services.configs.get(config_id))


@router.put("/{config_id}", operation_id="update_config")
async def update_config(config_id: str, body: ConfigBody, services: Services) -> ConfigDetailSchema:
    """Store a new version of a config; executions keep the one they were started with."""
    stored = await services.configs.update(
        config_id, body.config_yaml, name=body.name, description=body.description
    )
    return ConfigDetailSchema.of(stored)


@router.delete(
    "/{config_id}", status_code=204, response_class=Response, operation_id="delete_config"
)
async def delete_config(config_id: str, services: Services) -> None:
    """Deactivate a config; its executions stay as they are."""
    await services.configs.deactivate(config_id)


@router.post(
    "/{config_id}/run",
    status_code=201,
    operation_id="run_config",
    responses={200: {"model": ExecutionSchema, "description": "Started before, by this key."}},
)
async def run_config(
    *,
    config_id: str,
    services: Services,
    response: Response,
    skip_init_message: bool = False,
    tag: Annotated[Tag | None, Query(description="A unique name for the execution.")] = None,
    loaded_code: bool = False,
    init: Annotated[
        dict[str, Any] | None, Body(description="Laid over the YAML's init payload.")
    ] = None,
    idempotency_key: KeyHeader = None,
) -> ExecutionSchema:
    """Start an execution of a config's newest version; 200 when this key has started it before."""
    body = StartBody.model_construct(
        config_id=config_id,
        init=init,
        skip_init_message=skip_init_message,
        tag=tag,
        loaded_code=loaded_code,
    )
    return await start(services, body, idempotency_key, response)
