"""What a message carries beside its payload: plain data, and not much of it.

It rides along in every envelope, record and lineage row that comes of the message.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from factflow_protocols.errors import PermanentError

_json = msgspec.json.Encoder()


class MetadataTooLargeError(PermanentError):
    """An adapter attached more to a message than the server lets it carry."""

    code: ClassVar[str] = "metadata_too_large"

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(
            f"the adapter made metadata of {size} bytes; a message may carry up to {limit}",
            hint="put it into the payload, or start the server with a larger FACTFLOW_MAX_METADATA_BYTES",
        )


class MetadataLimit:
    """How much metadata a message may carry: `max_bytes` of JSON; None sets no limit."""

    def __init__(self, max_bytes: int | None = None) -> None:
        self._max_bytes = max_bytes

    def added(self, own: dict[str, Any], more: Any) -> dict[str, Any]:
        """Return `more` as JSON-able data, to be laid over what a message carries already.

        Raises `PermanentError` when it cannot be JSON, and `MetadataTooLargeError` when the message would
        carry too much with it. Without `more` nothing is asked.
        """
        if not more:
            return {}
        try:
            encoded = _json.encode(dict(more))
            plain: dict[str, Any] = msgspec.json.decode(encoded)
        except (TypeError, ValueError, RecursionError) as error:
            raise PermanentError(
                f"the adapter returned metadata that JSON cannot hold: {error}",
                hint="metadata is a mapping of names to text, numbers, lists and mappings",
            ) from error
        self._check(own, plain, len(encoded))
        return plain

    def _check(self, own: dict[str, Any], more: dict[str, Any], size: int) -> None:
        limit = self._max_bytes
        if limit is None or size + len(_json.encode(own)) <= limit:
            return
        size = len(_json.encode(own | more))  # what is laid over something takes its place
        if size > limit:
            raise MetadataTooLargeError(size, limit)
