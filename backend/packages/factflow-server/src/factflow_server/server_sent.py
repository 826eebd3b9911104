"""Pages of events as server-sent events on the wire.

A page goes out as one chunk, in FastAPI's format. Its `EventSourceResponse` takes single events only, from
a generator, with two hops between tasks for each; and errors before the first event could not be answered
as such, since the status is sent by then.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator

import msgspec
from fastapi import Response
from fastapi.responses import StreamingResponse
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from starlette.types import Send

from factflow_execution.database_trouble import DATABASE_TROUBLE, reason_of
from factflow_execution.event_streams import Pages, StreamEvent
from factflow_foundation import logs
from factflow_protocols.errors import FactflowError

RECONNECT_MILLISECONDS = 1_000
EVENT = {
    "type": "object",
    "description": "One event. `data` is JSON.",
    "properties": {name: {"type": "string"} for name in ("id", "event", "data")},
    "required": ["event", "data"],
}
"""What the API's description says of an event."""
_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}  # the latter for nginx

_log = logs.logger(__name__)


class EventStreamResponse(StreamingResponse):
    """A stream that lets go of all it holds as soon as its client is gone."""

    media_type = "text/event-stream"

    async def stream_response(self, send: Send) -> None:
        """Send what comes; whatever ends it, the pages' own cleaning up is not left to chance."""
        try:
            await super().stream_response(send)
        finally:
            if isinstance(self.body_iterator, AsyncGenerator):
                await self.body_iterator.aclose()


def answer(pages: Pages | None, seconds: float | None) -> Response:
    """Return the answer that streams pages for at most `seconds`; 204 when there is nothing more to tell,
    which keeps a browser from asking again."""
    if pages is None:
        return Response(status_code=204)
    return EventStreamResponse(_chunks(pages, seconds), headers=_HEADERS)


async def _chunks(pages: Pages, seconds: float | None) -> AsyncIterator[bytes]:
    yield format_sse_event(retry=RECONNECT_MILLISECONDS)
    end = None if seconds is None else asyncio.get_running_loop().time() + seconds
    async with contextlib.aclosing(pages) as source:
        while True:
            try:
                # No `yield` in here: the time may be up while a slow client is being waited for.
                async with asyncio.timeout_at(end):
                    page = await anext(source)
            except (StopAsyncIteration, TimeoutError):
                return
            except (FactflowError, *DATABASE_TROUBLE) as error:
                # The status has been sent; the client asks again and is told.
                _log.warning("a stream broke off", error=_told(error))
                return
            yield b"".join(map(_encoded, page)) or KEEPALIVE_COMMENT


def _told(error: Exception) -> str:
    return error.message if isinstance(error, FactflowError) else reason_of(error)


def _encoded(event: StreamEvent) -> bytes:
    if not event.name:
        return format_sse_event(id=event.id)
    data = msgspec.json.encode(event.data).decode()
    return format_sse_event(event=event.name, data_str=data, id=event.id)
