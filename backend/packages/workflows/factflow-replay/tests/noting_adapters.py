"""An adapter that leaves its mark in the metadata, and tells what it found there."""

from __future__ import annotations

from pydantic import SecretStr

from factflow_protocols.pipeline import (
    AdapterConfigModel,
    AdapterResult,
    PipelineContext,
    register_adapter_type,
)


class NoteConfig(AdapterConfigModel):
    key: SecretStr | None = None


@register_adapter_type("note", config=NoteConfig)
class NoteAdapter:
    """Counts in the metadata how often it ran for a message, and tells whether in a replay."""

    def __init__(self, config: NoteConfig) -> None:
        del config

    async def process(self, context: PipelineContext) -> AdapterResult:
        before = context.metadata.get("noted", 0)
        told = {"before": before, "is_replay": context.is_replay}
        return AdapterResult({**context.payload, **told}, metadata={"noted": before + 1})
