"""Gzip unpacked piece by piece, with a limit on what comes out.

A few kilobytes can unpack to gigabytes; the limit is checked while unpacking, in pieces of at most
64 KiB, so that such a file costs no more memory than an honest one.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

MAGIC = b"\x1f\x8b"
_PIECE = 64 * 1024


class GzipDamagedError(Exception):
    """The stream is no gzip, or is damaged at this point; what came before is good."""


class OutputLimitError(Exception):
    """More than the allowed number of bytes would come out."""


class Inflater:
    """Unpacks one gzip (or zlib) stream, of one or several members, as it arrives."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._stream = zlib.decompressobj(wbits=47)
        self._produced = 0
        self._started = False

    @property
    def complete(self) -> bool:
        """Tell whether the stream ended where its format says that it ends."""
        return self._stream.eof or not self._started

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what these bytes unpack to. Raises `GzipDamagedError` and `OutputLimitError`."""
        while data:
            if self._stream.eof:
                if self._started and not data.startswith(MAGIC[: len(data)]):
                    return  # padding or litter behind the last member, as gzip itself ignores it
                self._stream = zlib.decompressobj(wbits=47)
            self._started = True
            try:
                piece = self._stream.decompress(data, _PIECE)
            except zlib.error as error:
                raise GzipDamagedError(str(error)) from error
            self._produced += len(piece)
            if self._produced > self._max_bytes:
                raise OutputLimitError(f"unpacks to more than {self._max_bytes} bytes")
            if piece:
                yield piece
            data = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail
