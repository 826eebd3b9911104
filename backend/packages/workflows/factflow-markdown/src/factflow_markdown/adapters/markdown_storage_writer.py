"""`markdown_storage_writer`: a segment or document in, a readable markdown file in storage out."""

from __future__ import annotations

import json
from typing import Any

from pydantic import Field

from factflow_markdown.adapters.html_to_markdown import MARKDOWN_TYPE
from factflow_markdown.payloads import read_text, source_url
from factflow_protocols.pipeline import (
    AdapterConfigModel,
    AdapterResult,
    PipelineContext,
    register_adapter_type,
)


class MarkdownStorageConfig(AdapterConfigModel):
    """Settings of `markdown_storage_writer`."""

    include_front_matter: bool = Field(
        True,
        description="Begin with a YAML block: url, title, heading path, ordinal, token count, document.",
    )


@register_adapter_type("markdown_storage_writer", config=MarkdownStorageConfig)
class MarkdownStorageWriterAdapter:
    """Stores a segment as a markdown file that says in its front matter where it comes from."""

    def __init__(self, config: MarkdownStorageConfig) -> None:
        self._config = config

    async def process(self, context: PipelineContext) -> AdapterResult:
        """Return the file's text; the engine stores it as this stage's artefact.

        The payload is a segment (an object with `text`), or markdown. `document_id` is the metadata's, or
        the origin of the message when no earlier stage gave one. Raises `PermanentError`.
        """
        text = read_text(context, "text")
        facts = _facts(context)
        front = _front_matter(facts) if self._config.include_front_matter else ""
        body = text if text.endswith("\n") else text + "\n"
        return AdapterResult(front + body, metadata=facts, content_type=MARKDOWN_TYPE)


def _facts(context: PipelineContext) -> dict[str, Any]:
    """Return what is known of the text, in the order of the front matter; unknown facts left out."""
    segment = context.payload if isinstance(context.payload, dict) else {}
    facts = {
        "url": source_url(context),
        "title": segment.get("title", context.metadata.get("title")),
        "heading_path": segment.get("heading_path", context.metadata.get("heading_path")),
        "ordinal": segment.get("ordinal", context.metadata.get("ordinal")),
        "token_count": segment.get("token_count", context.metadata.get("token_count")),
        "document_id": context.metadata.get("document_id") or context.origin_id,
    }
    return {name: value for name, value in facts.items() if value not in (None, "", [])}


def _front_matter(facts: dict[str, Any]) -> str:
    """Write the facts as YAML; each value as JSON, which YAML 1.2 reads as it is."""
    lines = [f"{name}: {_scalar(value)}" for name, value in facts.items()]
    return "---\n" + "\n".join(lines) + "\n---\n\n"


def _scalar(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    # JSON leaves these as they are, and YAML takes them for line ends or refuses them.
    return "".join(
        f"\\u{ord(char):04x}" if char in "\x7f\x85\u2028\u2029\ufeff" else char for char in text
    )
