"""Every error Factflow raises on purpose.

    FactflowError
    ├── AdapterError
    │   ├── TransientError      worth another attempt
    │   └── PermanentError      no attempt will help
    ├── StorageError
    │   ├── ObjectNotFoundError
    │   ├── ObjectExistsError   create-only write lost the race
    │   ├── ObjectDamagedError  bytes do not match their record
    │   │   └── RecordDamagedError    the record itself cannot be read
    │   ├── KeyRefusedError     a key the store cannot or will not hold
    │   └── StorageUnavailableError   ours, not the message's
    └── QueueError
        └── QueueUnavailableError     ours, not the message's

Each carries a stable `code`, a message that says what and why, and a `hint` that says what to do.
"""

from __future__ import annotations

from typing import ClassVar


class FactflowError(Exception):
    """Base of all: `code` is stable, `hint` names the next thing to try ('' when there is none)."""

    code: ClassVar[str] = "internal_error"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class AdapterError(FactflowError):
    """An adapter says its message cannot be done."""

    code = "adapter_error"


class TransientError(AdapterError):
    """The same input may succeed later; `retry_after` (seconds) overrides the route's delay."""

    code = "adapter_transient"

    def __init__(self, message: str, *, hint: str = "", retry_after: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class PermanentError(AdapterError):
    """The same input will fail again: the message fails at once, whatever `max_retries` says."""

    code = "adapter_permanent"


class StorageError(FactflowError):
    """Something about one object or the store."""

    code = "storage_error"


class ObjectNotFoundError(StorageError):
    """No object has this key."""

    code = "object_not_found"

    def __init__(self, key: str) -> None:
        super().__init__(
            f"no object {key!r} in storage", hint="factflow storage list --execution ID"
        )
        self.key = key


class ObjectExistsError(StorageError):
    """The key is taken; writes are create-only and the first one stands."""

    code = "object_exists"

    def __init__(self, key: str) -> None:
        super().__init__(f"{key!r} is already stored and is never replaced")
        self.key = key


class ObjectDamagedError(StorageError):
    """The stored bytes are not those the record describes."""

    code = "object_damaged"


class RecordDamagedError(ObjectDamagedError):
    """An outcome record that cannot be read; `key` is the one it stands under."""

    code = "record_damaged"

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(
            f"the record of {key!r} is damaged: {reason}",
            hint="restore it from a copy, or delete it, so that the stage runs again",
        )
        self.key = key


class KeyRefusedError(StorageError):
    """The key is empty, absolute, climbs out of the store, or holds a control character."""

    code = "key_refused"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(
            message, hint=hint or "factflow storage list --execution ID shows its keys"
        )


class StorageUnavailableError(StorageError):
    """The store does not answer or is full; nobody's message is to blame."""

    code = "storage_unavailable"


class QueueError(FactflowError):
    """Something about a queue."""

    code = "queue_error"


class QueueUnavailableError(QueueError):
    """The queue does not answer or cannot write; nobody's message is to blame."""

    code = "queue_unavailable"
