"""Starting executions: one way for all endpoints that do, with or without an idempotency key.

201 for what this request started, 200 for what an earlier one with the same key did.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Header, Response
from pydantic import BaseModel

from factflow_execution.errors import LaunchRefusedError
from factflow_execution.idempotency import Idempotency
from factflow_execution.models import PipelineExecution
from factflow_server.api.schemas.executions import (
    ExecutionSchema,
    IdempotencyKey,
    StartBody,
)
from factflow_server.container import Container

KeyHeader = Annotated[
    IdempotencyKey | None,
    Header(
        alias="Idempotency-Key",
        description="The same key gives the same execution; the body's `idempotency_key` says the same.",
    ),
]


def idempotency_of(
    header: str | None, body: BaseModel, in_body: str | None, **more: Any
) -> Idempotency | None:
    """Return the key a request came with, in its header or in its body; None without one.

    Raises `LaunchRefusedError` when both are given and differ.
    """
    if header is not None and in_body is not None and header != in_body:
        raise LaunchRefusedError(
            "the Idempotency-Key header and idempotency_key in the body differ", hint="send one"
        )
    key = header or in_body
    if key is None:
        return None
    return Idempotency.of(key, body.model_dump(mode="json", exclude={"idempotency_key"}) | more)


async def start(
    services: Container, body: StartBody, header: str | None, response: Response
) -> ExecutionSchema:
    """Start an execution of a config's newest version, once for each key."""
    idempotency = idempotency_of(header, body, body.idempotency_key)

    async def launch() -> PipelineExecution:
        draft = await services.configs.draft(
            body.config_id,
            init=body.init,
            skip_init=body.skip_init_message,
            tag=body.tag,
            metadata=body.metadata or {},
            trigger_context=body.trigger_context,
            loaded_code=body.loaded_code,
            idempotency=idempotency,
        )
        return await services.executions.launch(draft)

    if idempotency is None:
        return ExecutionSchema.of(await launch())
    execution, started = await services.executions.starts.once(idempotency, launch)
    if not started:
        response.status_code = 200
    return ExecutionSchema.of(execution)
