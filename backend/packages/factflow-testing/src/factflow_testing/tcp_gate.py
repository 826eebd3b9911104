"""A port that leads to a server and can be shut, as if the server had gone: trouble that comes and ends."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")

CHUNK = 65_536
PATIENCE_SECONDS = 10.0


class TcpGate:
    """Forwards connections from a loopback port of its own (`port`) to `host`:`port`, in a thread of its own.

    `shut` cuts all connections and refuses new ones; `hold` keeps them, and brings nothing through, as a
    network that fell silent; `open` lets all through again, on the same port.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self.port = 0
        self._server: asyncio.Server | None = None
        self._cut: set[asyncio.StreamWriter] = set()
        self._forwarding: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tcp gate")

    def open(self) -> None:
        """Let connections through from now on."""
        self._run(self._open())

    def shut(self) -> None:
        """Cut all connections, and refuse new ones."""
        self._run(self._shut())

    def hold(self) -> None:
        """Bring nothing through from now on; connections stay, and further ones are taken."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    def __enter__(self) -> Self:
        self._thread.start()
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.shut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_SECONDS)
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_SECONDS)

    async def _open(self) -> None:
        self._flowing.set()
        if self._server is None:
            self._server = await asyncio.start_server(self._forward, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def _shut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        self._flowing.set()  # what is held has to see that it is cut
        for writer in list(self._cut):
            writer.transport.abort()
        if self._forwarding:
            await asyncio.wait(self._forwarding)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there: asyncio.StreamWriter | None = None
        self._cut.add(writer)
        if (task := asyncio.current_task()) is not None:
            self._forwarding.add(task)
            task.add_done_callback(self._forwarding.discard)
        try:
            back, there = await asyncio.open_connection(*self._target)
            self._cut.add(there)
            await asyncio.gather(self._copy(reader, there), self._copy(back, writer))
        except OSError:
            pass
        finally:
            for one in (writer, there):
                if one is not None:
                    one.close()
                    with contextlib.suppress(OSError):
                        await one.wait_closed()
                    self._cut.discard(one)

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hand on what comes, and then that nothing comes any more."""
        try:
            while chunk := await reader.read(CHUNK):
                await self._flowing.wait()
                writer.write(chunk)
                await writer.drain()
        finally:
            writer.close()
