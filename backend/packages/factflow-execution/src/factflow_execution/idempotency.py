"""Keys that make a start happen once, however often it is asked for.

The key stands in the execution's own row, under a unique index, and the row is written before anything runs.
So there is no moment in which a key is taken and nothing came of it: a crash before the row leaves
neither, a crash after it leaves both, and recovery takes the execution up.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.exc import IntegrityError

from factflow_execution.errors import IdempotencyKeyReusedError, LaunchRefusedError
from factflow_execution.execution_repository import ExecutionRepository
from factflow_execution.models import PipelineExecution

_KEY = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(frozen=True, slots=True)
class Idempotency:
    """A client's key, and the SHA-256 of the request it was sent with."""

    key: str
    request_hash: str

    @classmethod
    def of(cls, key: str, request: Mapping[str, Any]) -> Idempotency:
        """Return the key of a request, given as JSON values. Equal requests have equal hashes.

        Raises `LaunchRefusedError` for a key that is no 1 to 255 visible ASCII characters.
        """
        if not _KEY.fullmatch(key):
            raise LaunchRefusedError(
                "an idempotency key has 1 to 255 visible ASCII characters and no blank",
                hint="a UUID serves",
            )
        text = json.dumps(request, sort_keys=True, separators=(",", ":"))
        return cls(key, hashlib.sha256(text.encode()).hexdigest())


class IdempotentStarts:
    """Starts once for each key: later and concurrent requests are given the execution of the first."""

    def __init__(self, repository: ExecutionRepository) -> None:
        self._repository = repository
        self._turns: dict[str, tuple[asyncio.Lock, int]] = {}

    async def once(
        self, idempotency: Idempotency, start: Callable[[], Awaitable[PipelineExecution]]
    ) -> tuple[PipelineExecution, bool]:
        """Return the key's execution, and whether this call started it.

        A start that raises leaves the key free, unless its row stands: then the key names the failed
        execution. Raises `IdempotencyKeyReusedError` when the key came with another request before.
        """
        key = idempotency.key
        lock, waiting = self._turns.get(key, (asyncio.Lock(), 0))
        self._turns[key] = (lock, waiting + 1)
        try:
            async with lock:
                found = await self._repository.with_idempotency_key(key)
                if found is None:
                    try:
                        return await start(), True
                    except IntegrityError:
                        # Another server was first, behind our question.
                        found = await self._repository.with_idempotency_key(key)
                        if found is None:
                            raise
                if found.request_hash != idempotency.request_hash:
                    raise IdempotencyKeyReusedError(key, found.execution_id)
                return found, False
        finally:
            lock, waiting = self._turns[key]
            if waiting == 1:
                del self._turns[key]
            else:
                self._turns[key] = (lock, waiting - 1)
