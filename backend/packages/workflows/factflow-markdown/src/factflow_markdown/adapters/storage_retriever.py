"""`storage_retriever`: the key of a stored object in, its text out."""

from __future__ import annotations

import mimetypes

from pydantic import Field

from factflow_protocols.errors import KeyRefusedError, ObjectNotFoundError, PermanentError
from factflow_protocols.pipeline import (
    AdapterConfigModel,
    AdapterResult,
    PipelineContext,
    register_adapter_type,
)


class StorageRetrieverConfig(AdapterConfigModel):
    """Settings of `storage_retriever`."""

    key_field: str = Field(
        "storage_key", min_length=1, description="Entry of the payload that holds the object's key."
    )


@register_adapter_type("storage_retriever", config=StorageRetrieverConfig)
class StorageRetrieverAdapter:
    """Reads a stored page by its key, so that a pipeline can start from what another one stored."""

    def __init__(self, config: StorageRetrieverConfig) -> None:
        self._config = config

    async def process(self, context: PipelineContext) -> AdapterResult:
        """Return the object's text. The payload is the key, or an object with `key_field`.

        Bytes that are no UTF-8 text stay bytes. Other entries of the payload go on as metadata. Raises
        `PermanentError` when the key is missing, refused, or names no object.
        """
        key = self._key(context)
        if context.storage is None:
            raise PermanentError("storage_retriever was given no storage to read from")
        try:
            data = await context.storage.read(key)
        except (ObjectNotFoundError, KeyRefusedError) as error:
            raise PermanentError(error.message, hint=error.hint) from error
        others = context.payload if isinstance(context.payload, dict) else {}
        metadata = {name: value for name, value in others.items() if name != self._config.key_field}
        kind = mimetypes.guess_type(key)[0]
        try:
            content_type = f"{kind or 'text/plain'}; charset=utf-8"
            return AdapterResult(data.decode(), metadata=metadata, content_type=content_type)
        except UnicodeDecodeError:
            return AdapterResult(data, metadata=metadata, content_type=kind)

    def _key(self, context: PipelineContext) -> str:
        payload = context.payload
        key = payload.get(self._config.key_field) if isinstance(payload, dict) else payload
        if not isinstance(key, str) or not key:
            raise PermanentError(
                f"stage {context.stage or '?'} needs an object's key, or an object with "
                f"{self._config.key_field!r}",
                hint="the init payload may be: {storage_key: executions/ID/ROUTE/STAGE/MESSAGE.html}",
            )
        return key
