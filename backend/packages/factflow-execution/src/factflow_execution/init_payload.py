"""An execution's init payload: the YAML's, with what the caller laid over it, stored before anything runs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from factflow_engine.config.models import PipelineGlobalConfig
from factflow_execution.errors import InitTooLargeError, LaunchRefusedError
from factflow_foundation import keys
from factflow_protocols.storage import StorageProtocol

CONTENT_TYPE = "application/json"


def merged(base: Any, over: Any) -> Any:
    """Return `over` laid over `base`: objects key by key at every depth, anything else replaced."""
    if not isinstance(base, Mapping) or not isinstance(over, Mapping):
        return over
    result = dict(base)
    for key, value in over.items():
        result[key] = merged(result[key], value) if key in result else value
    return result


def init_payload(config: PipelineGlobalConfig, init: Mapping[str, Any] | None) -> Any:
    """Return the payload an execution starts from, `{}` when there is none.

    Raises `LaunchRefusedError` when `init` is given and the pipeline has no init message to take it.
    """
    message = config.init_message
    if message is None:
        if init:
            raise LaunchRefusedError(
                "this pipeline has no init_message, so there is nothing an init could change",
                hint="add init_message to the YAML, or start without init",
            )
        return {}
    return merged(message.payload, init) if init else message.payload


async def store_init(
    storage: StorageProtocol,
    execution_id: str,
    config: PipelineGlobalConfig,
    init: Mapping[str, Any] | None,
    max_bytes: int | None = None,
) -> None:
    """Write `executions/<id>/_init.json` with its record.

    Raises `LaunchRefusedError` and `InitTooLargeError`; nothing is written then.
    """
    payload = init_payload(config, init)
    try:
        data = msgspec.json.encode(payload)
    except (UnicodeEncodeError, RecursionError) as error:
        raise LaunchRefusedError(
            "the init payload holds text that is not Unicode, or is nested too deeply"
        ) from error
    if max_bytes is not None and len(data) > max_bytes:
        raise InitTooLargeError(len(data), max_bytes)
    record = {
        "content_type": CONTENT_TYPE,
        "output_hash": hashlib.sha256(data).hexdigest(),
        "size": len(data),
    }
    await storage.write(
        keys.init_key(execution_id), data, record, extension=keys.extension_for(CONTENT_TYPE)
    )
