"""A made-up answer to why."""

from __future__ import annotations

from typing import Any

from .rows import RUN


def cause(code: str, sentence: str, following: str, **changes: Any) -> dict[str, Any]:
    """Return a cause of an answer to why."""
    return {
        "code": code,
        "sentence": sentence,
        "next": following,
        "since": None,
        "until": None,
        "execution_id": RUN,
        "route": None,
        "stage": None,
        "message_id": None,
        "count": None,
        "because": [],
        **changes,
    }


def why() -> dict[str, Any]:
    """Return a chain of causes that ends at a pause."""
    resume = "factflow pipeline resume publish"
    words = "route publish is paused by ann since 2026-03-01 09:30:00 UTC (\u202euntil it is back)"
    paused = cause("paused", words, resume, route="publish", since="2026-03-01T09:30:00Z")
    words = (
        "route convert takes nothing, since route publish behind it has 120 messages waiting, over its "
        "max_queued of 100"
    )
    held = cause("held_back", words, "factflow why publish", route="convert", because=[paused])
    words = "route convert has 300 messages waiting in queue convert_in"
    waiting = cause("waiting", words, "factflow why convert", route="convert", because=[held])
    return {
        "kind": "execution",
        "subject": RUN,
        "execution_id": RUN,
        "status": "running",
        "summary": f"execution {RUN} is running: 3 of 423 messages have ended",
        "as_of": "2026-03-01T09:31:00Z",
        "causes": [waiting],
    }
