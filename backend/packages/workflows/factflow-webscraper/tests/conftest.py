"""A small HTTP server on loopback that answers as badly as it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from factflow_protocols.pipeline import AdapterEnvironment


@dataclass
class Answer:
    """One answer; `raw` replaces head and body. `then` is close, keep, reset or hang."""

    body: bytes = b""
    status: int = 200
    content_type: str | None = "text/html; charset=utf-8"
    headers: dict[str, str] = field(default_factory=dict)
    declared_length: int | None = None
    raw: bytes | None = None
    then: str = "keep"
    stream: Callable[[asyncio.StreamWriter], Awaitable[None]] | None = None

    def encode(self) -> bytes:
        if self.raw is not None:
            return self.raw
        lines = [f"HTTP/1.1 {self.status} Whatever"]
        if self.content_type is not None:
            lines.append(f"Content-Type: {self.content_type}")
        length = len(self.body) if self.declared_length is None else self.declared_length
        lines.append(f"Content-Length: {length}")
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


class FaultyServer:
    """Answers by path; the last of several answers for a path is repeated. Unknown paths get 404."""

    def __init__(self) -> None:
        self.base = ""
        self.port = 0
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.first_bytes: list[bytes] = []
        self.in_flight = 0
        self.max_in_flight = 0
        self.arrived = asyncio.Condition()
        self.release = asyncio.Event()
        self._answers: dict[str, list[Answer]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    def add(self, path: str, body: bytes | str = b"", **facts: Any) -> None:
        data = body.encode() if isinstance(body, str) else body
        self._answers.setdefault(path, []).append(Answer(data, **facts))

    def paths(self) -> list[str]:
        return [path for path, _ in self.requests]

    async def wait_for_requests(self, count: int) -> None:
        async with self.arrived:
            await self.arrived.wait_for(lambda: len(self.requests) >= count)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                while await self._one(reader, writer):
                    pass
        except asyncio.CancelledError:
            pass  # the end of the test
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        first = await reader.readexactly(1)
        if first == b"\x16":
            self.first_bytes.append(first + await reader.read(4096))
            return False
        head = first + await reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        path = lines[0].split(" ")[1]
        headers = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
        async with self.arrived:
            self.requests.append((path, {key.lower(): value for key, value in headers.items()}))
            self.arrived.notify_all()
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        try:
            return await self._answer(path, writer)
        finally:
            self.in_flight -= 1

    async def _answer(self, path: str, writer: asyncio.StreamWriter) -> bool:
        answers = self._answers.get(path) or [Answer(b"<h1>no</h1>", status=404)]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if answer.then == "gate":
            await self.release.wait()
        if answer.then != "silent":
            writer.write(answer.encode())
            await writer.drain()
        if answer.stream is not None:
            await answer.stream(writer)
        if answer.then in {"hang", "silent"}:
            await self.release.wait()
        if answer.then == "reset":
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        return answer.then in {"keep", "gate"}

    async def stop(self) -> None:
        self.release.set()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@pytest.fixture
async def server() -> AsyncIterator[FaultyServer]:
    faulty = FaultyServer()
    listener = await asyncio.start_server(faulty.serve, "127.0.0.1", 0)
    faulty.port = listener.sockets[0].getsockname()[1]
    faulty.base = f"http://127.0.0.1:{faulty.port}"
    yield faulty
    listener.close()
    await faulty.stop()
    await listener.wait_closed()


@pytest.fixture
def environment() -> AdapterEnvironment:
    return AdapterEnvironment("e1", "r", "s", allow_private_networks=True)
