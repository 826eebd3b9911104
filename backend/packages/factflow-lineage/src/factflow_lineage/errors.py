"""What lineage queries may raise; recording raises nothing.

FactflowError
├── LineageNotFoundError       no such row or message
├── EventUnknownError          no such place in a stream
├── LineageFilterError         a filter that cannot mean anything
└── LineageUnavailableError    the lineage database does not answer
"""

from __future__ import annotations

from sqlalchemy.exc import StatementError

from factflow_protocols.errors import FactflowError

_ARGUMENT = "invalid input for query argument"  # asyncpg goes on with the value


class LineageNotFoundError(FactflowError):
    """No row has this id and no row belongs to a message of this id."""

    code = "lineage_not_found"

    def __init__(self, wanted: str) -> None:
        super().__init__(
            f"no lineage row or message {wanted!r}",
            hint="factflow lineage list --execution ID shows the rows of an execution",
        )


class LineageFilterError(FactflowError):
    """A filter value is out of range or not one of its choices."""

    code = "invalid_request"


class EventUnknownError(FactflowError):
    """A stream was to go on behind an event that it does not have."""

    code = "event_unknown"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"this stream has no event {name[:80]!r}, or has it no longer",
            hint="send the id of an event of this very stream as Last-Event-ID, or leave it out "
            "to get the stream from its beginning",
        )


class LineageUnavailableError(FactflowError):
    """The lineage database is locked, full, gone or broken. Work goes on without it."""

    code = "lineage_unavailable"

    def __init__(self, error: BaseException) -> None:
        super().__init__(
            f"the lineage database does not answer: {describe(error)}",
            hint="messages are processed all the same; see factflow system health",
        )


def describe(error: BaseException) -> str:
    """Return one short line on an error, without the SQL statement and its values."""
    told: BaseException = error
    if isinstance(error, StatementError) and error.orig is not None:
        told = error.orig
    lines = str(told).strip().splitlines()
    line = lines[0] if lines else "no details"
    if _ARGUMENT in line:
        line = line.partition(":")[0]
    return f"{type(told).__name__}: {line}"[:200]
