"""Reads what an adapter was handed, and says clearly when it is something else."""

from __future__ import annotations

from email.message import Message
from typing import Any

from factflow_protocols.errors import PermanentError
from factflow_protocols.pipeline import PipelineContext


def read_text(context: PipelineContext, field: str) -> str:
    """Return the payload's text: the payload itself (bytes are decoded), or its entry `field`.

    Raises `PermanentError` for anything else.
    """
    payload = context.payload
    if isinstance(payload, dict):
        payload = payload.get(field)
    if isinstance(payload, bytes):
        return _decoded(payload, context.content_type)
    if not isinstance(payload, str):
        raise PermanentError(
            f"stage {context.stage or '?'} needs text, or an object with {field!r}; "
            f"its input is {_described(context.payload)}",
            hint="look at the stage before it: its result is this stage's input",
        )
    return payload


def source_url(context: PipelineContext) -> str:
    """Return the address the payload came from, '' when nobody knows."""
    payload = context.payload if isinstance(context.payload, dict) else {}
    candidates = (
        payload.get("final_url"),
        payload.get("url"),
        context.metadata.get("final_url"),
        context.metadata.get("url"),
    )
    return next((one for one in candidates if isinstance(one, str) and one), "")


def _decoded(data: bytes, content_type: str) -> str:
    header = Message()
    header["content-type"] = content_type
    charset = header.get_content_charset() or "utf-8"
    try:
        return data.decode(charset, errors="replace")
    except LookupError as error:
        raise PermanentError(f"the input's charset {charset!r} is unknown") from error


def _described(payload: Any) -> str:
    if isinstance(payload, dict):
        names = ", ".join(repr(name) for name in list(payload)[:8])
        return f"an object with {names}" if names else "an empty object"
    return f"a {type(payload).__name__}"
