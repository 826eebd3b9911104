"""`segment_publisher`: a list of segments in, one message each out."""

from __future__ import annotations

from typing import Any

from factflow_protocols.errors import PermanentError
from factflow_protocols.pipeline import (
    AdapterConfigModel,
    AdapterResult,
    Emitted,
    PipelineContext,
    register_adapter_type,
)


class SegmentPublisherConfig(AdapterConfigModel):
    """`segment_publisher` has no settings."""


@register_adapter_type("segment_publisher", config=SegmentPublisherConfig)
class SegmentPublisherAdapter:
    """Publishes each segment of a list as a message of its own; a single segment passes unchanged."""

    def __init__(self, config: SegmentPublisherConfig) -> None:
        self._config = config

    async def process(self, context: PipelineContext) -> AdapterResult:
        """Emit the segments of a list, or of an object's `segments`.

        After `smart_segmenter`, which publishes its segments itself, every payload is one segment.
        Raises `PermanentError` for anything else.
        """
        payload = context.payload
        if isinstance(payload, dict) and isinstance(payload.get("text"), str):
            return AdapterResult(payload)
        segments = payload.get("segments") if isinstance(payload, dict) else payload
        if not isinstance(segments, list):
            raise PermanentError(
                f"stage {context.stage or '?'} needs a segment (an object with 'text') or a list of them",
                hint="put smart_segmenter before segment_publisher",
            )
        return AdapterResult(emitted=[_child(segment) for segment in segments])


def _child(segment: Any) -> Emitted:
    if not isinstance(segment, dict) or not isinstance(segment.get("text"), str):
        raise PermanentError("a segment in the list is no object with 'text'")
    names = ("heading_path", "ordinal", "token_count")
    metadata = {name: segment[name] for name in names if name in segment}
    return Emitted(segment, metadata=metadata, content_type="application/json")
