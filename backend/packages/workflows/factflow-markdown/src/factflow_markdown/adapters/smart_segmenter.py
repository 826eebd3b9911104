"""`smart_segmenter`: a markdown document in, its segments out, one message each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator

from factflow_markdown.payloads import read_text
from factflow_markdown.segments import Segment, SegmentLimits, segment_markdown
from factflow_markdown.tokens import TokenCounter, known_tokenizer
from factflow_protocols.pipeline import (
    AdapterConfigModel,
    AdapterResult,
    Emitted,
    PipelineContext,
    register_adapter_type,
)

_LONGEST_PATH = 160
MAX_HEADING = 500
"""Characters of a heading that travel on as metadata."""


class SmartSegmenterConfig(AdapterConfigModel):
    """Settings of `smart_segmenter`. All sizes are tokens."""

    max_tokens: int = Field(512, ge=16, description="No segment has more tokens.")
    min_tokens: int | None = Field(
        None,
        ge=0,
        description="Smaller sections are joined with the next; a quarter of max_tokens by default.",
    )
    overlap_tokens: int = Field(
        0, ge=0, description="Tokens that pieces of one long section share with the piece before."
    )
    tokenizer: Annotated[str, AfterValidator(known_tokenizer)] = Field(
        "gpt-4o", description="Model whose tokens are counted, for example gpt-4o or gpt-4."
    )

    @model_validator(mode="after")
    def _sizes_agree(self) -> Self:
        if self.min_tokens is not None and self.min_tokens > self.max_tokens:
            raise ValueError("min_tokens must not be greater than max_tokens")
        if 2 * self.overlap_tokens > self.max_tokens:
            raise ValueError("overlap_tokens must be at most half of max_tokens")
        return self

    def limits(self) -> SegmentLimits:
        """Return the limits with defaults filled in."""
        minimum = self.max_tokens // 4 if self.min_tokens is None else self.min_tokens
        return SegmentLimits(self.max_tokens, minimum, self.overlap_tokens)


@register_adapter_type("smart_segmenter", config=SmartSegmenterConfig)
class SmartSegmenterAdapter:
    """Cuts markdown into segments of bounded token counts along its headings, blocks and sentences."""

    def __init__(self, config: SmartSegmenterConfig) -> None:
        self._limits = config.limits()
        self._counter = TokenCounter(config.tokenizer)

    def process(self, context: PipelineContext) -> AdapterResult:
        """Emit the segments of one document; plain, so that it runs in a thread.

        The payload is markdown, or an object with `markdown`. Each child's payload is
        `{text, heading_path, ordinal, token_count, start, end}`, offsets in characters of the document.
        A document without text emits nothing and counts as filtered. Raises `PermanentError`.
        """
        markdown = read_text(context, "markdown")
        segments = segment_markdown(markdown, self._counter, self._limits)
        return AdapterResult(emitted=list(_children(segments)))


def segment_key(segment: Segment) -> str:
    """Name a segment by its place: heading path, and number among the segments under that path.

    So a text inserted in one section renames no segment of another, and an edited segment keeps its name:
    comparing two runs then shows it as changed. A name made of the content would show every edit as one
    segment gone and another come; one made of the ordinal would shift all that follow an insertion.
    """
    path = " > ".join(segment.heading_path)
    if len(path) > _LONGEST_PATH:
        digest = hashlib.blake2b(path.encode("utf-8", "replace"), digest_size=8).hexdigest()
        path = f"{path[:_LONGEST_PATH]}… {digest}"
    return f"{path} [{segment.place}]".strip()


def _children(segments: list[Segment]) -> Iterator[Emitted]:
    for segment in segments:
        payload: dict[str, Any] = {
            "text": segment.text,
            "heading_path": list(segment.heading_path),
            "ordinal": segment.ordinal,
            "token_count": segment.token_count,
            "start": segment.start,
            "end": segment.end,
        }
        metadata = {
            "heading_path": [heading[:MAX_HEADING] for heading in segment.heading_path],
            "ordinal": segment.ordinal,
            "token_count": segment.token_count,
            "segments": len(segments),
        }
        yield Emitted(payload, segment_key(segment), metadata, "application/json")
