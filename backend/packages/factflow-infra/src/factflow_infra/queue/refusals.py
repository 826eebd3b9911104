"""What a queue says to those who ask for the queues of an execution that it cannot give them."""

from __future__ import annotations

from factflow_protocols.errors import QueueError
from factflow_protocols.queue import QueueScope


def no_queues(scope: QueueScope) -> QueueError:
    """Return the error for a scope that was not opened, or was deleted."""
    return QueueError(
        f"execution {scope.execution_id} has no queues in generation {scope.generation}",
        hint="they are made when the execution starts and go when it ends",
    )


def not_owned(scope: QueueScope) -> QueueError:
    """Return the error for what only the owner of a scope can do."""
    return QueueError(
        f"the queues of execution {scope.execution_id} are owned by another server",
        hint="ask the server that runs the execution",
    )


def embedded() -> QueueError:
    """Return the error for joining queues in a server's own file."""
    return QueueError(
        "the embedded queue is one server's own",
        hint="have FACTFLOW_QUEUE_URL name a broker that all servers share",
    )


def ledger_not_shared() -> QueueError:
    """Return the error for joining queues whose counts are in a server's own file."""
    return QueueError(
        "queues whose ledger is in SQLite are one server's own",
        hint="have FACTFLOW_DATABASE_URL name a PostgreSQL database that all servers share",
    )
