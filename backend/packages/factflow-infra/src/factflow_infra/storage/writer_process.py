"""The writing half of a local store in a process of its own.

Making files is most of what a message costs, and a thread that does it takes the interpreter lock back
after each system call: beside a busy event loop it gains nothing. A process does. Requests made in one
turn of the loop travel together over a socket pair, and are answered together.

The process ends when its other end is closed, in order or because the server died, once all that it had
been handed is written. It keeps the descriptors it is given open that long: with the one that carries the
lock of the data folder among them, no next server begins while it still writes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from factflow_foundation import logs
from factflow_infra.storage import writer_messages
from factflow_infra.storage.requests import StoreRequest
from factflow_infra.storage.writer_messages import Request
from factflow_infra.storage.writer_thread import BACKLOG_LIMIT, WriterThread
from factflow_protocols.errors import StorageUnavailableError

END_SECONDS = 30.0
ANSWERS_PER_TURN = 8
"""What a message does after its answer takes 100 microseconds and more; others want their turn, too."""
FRAME_REQUESTS = 16
"""Sent as soon as there are so many, so that the process works while the loop goes on; answered together."""
PROGRAM = "factflow_infra.storage.writer_program"
Pending = tuple[StoreRequest, "asyncio.Future[str | None]"]

_log = logs.logger(__name__)


class WriterProcess(asyncio.Protocol):
    """Hands requests to a process, which `start_soon` or the first request starts. Serves one event loop.

    `kind` says how the program is to store things: a kind of staged files, or `packed`.

    Should the process end by itself, what it had not answered and all that follows is done by
    `substitute`, a thread. A record that it had written already is found then, as by any repeat.
    """

    def __init__(
        self,
        root: Path,
        *,
        durable: bool,
        kind: str,
        keep_open: Sequence[int],
        substitute: WriterThread[StoreRequest, str | None],
    ) -> None:
        self._arguments = (str(root), "fsync" if durable else "os", kind)
        self._keep_open = tuple(keep_open)
        self._substitute = substitute
        self._room_waiting: deque[asyncio.Future[None]] = deque()
        self._pending: dict[int, Pending] = {}
        self._outbox: list[Request] = []
        self._frames = writer_messages.Frames()
        self._answered: deque[writer_messages.Answer] = deque()
        self._next = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._starting: asyncio.Task[None] | None = None
        self._line: asyncio.Transport | None = None
        self._line_ended = asyncio.Event()
        self._done_again: set[asyncio.Task[None]] = set()
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    def start_soon(self) -> None:
        """Start the process now, in an event loop, so that the first request need not wait for it."""
        if self._starting is None and not self._closed:
            with contextlib.suppress(RuntimeError):
                self._begin_start(asyncio.get_running_loop())

    async def submit(self, request: StoreRequest) -> str | None:
        """Have the request performed; return its answer or raise its error.

        What was sent is finished, whether or not its caller waits for it. Raises
        `StorageUnavailableError` once closed.
        """
        if self._line is None:
            await self._start()
        while len(self._pending) >= BACKLOG_LIMIT:
            await self._room()
        if self._closed:
            raise StorageUnavailableError("the store is closed")
        if self._loop is None or self._line_ended.is_set():
            return await self._substitute.submit(request)
        answer: asyncio.Future[str | None] = self._loop.create_future()
        number, self._next = self._next, self._next + 1
        self._pending[number] = (request, answer)
        if not self._outbox:
            self._loop.call_soon(self._send)
        self._outbox.append(Request(number, request))
        if len(self._outbox) == FRAME_REQUESTS:
            self._send()
        return await answer

    async def close(self) -> None:
        """Finish every request taken so far and end the process; repeated calls do nothing more."""
        first, self._closed = not self._closed, True
        if self._starting is not None:
            await asyncio.wait([self._starting])
        if self._line is not None:
            if first and not self._line_ended.is_set():
                self._send()
                self._line.write_eof()
            await self._line_ended.wait()
        if self._done_again:
            await asyncio.wait(self._done_again)
        if self._process is not None:
            await asyncio.to_thread(self._process.wait, END_SECONDS)
        await self._substitute.close()

    # -- asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        """Take answers in, and give the first to those who wait for them."""
        idle = not self._answered
        for frame in self._frames.add(data):
            self._answered.extend(writer_messages.answers(frame))
        if idle:
            self._give_answers(ANSWERS_PER_TURN)

    def connection_lost(self, exc: Exception | None) -> None:
        """Have the substitute do what was not answered."""
        self._line_ended.set()
        self._give_answers(len(self._answered))
        left, self._pending, self._outbox = list(self._pending.values()), {}, []
        if not self._closed:
            _log.warning("storage writer ended", unanswered=len(left), error=repr(exc))
        self._tell_of_room()
        for pending in left:
            task = asyncio.ensure_future(self._do_again(pending))
            self._done_again.add(task)
            task.add_done_callback(self._done_again.discard)

    # -- inside

    def _give_answers(self, count: int) -> None:
        """Give some answers, and the rest in the next turns of the loop: each sets a message going."""
        for _ in range(min(count, len(self._answered))):
            number, name, refusal = self._answered.popleft()
            _, answer = self._pending.pop(number)
            if answer.done():
                continue
            if refusal is None:
                answer.set_result(name)
            else:
                answer.set_exception(writer_messages.error_of(refusal))
        if self._answered and self._loop is not None:
            self._loop.call_soon(self._give_answers, ANSWERS_PER_TURN)
        self._tell_of_room()

    async def _room(self) -> None:
        """Wait until fewer requests are unanswered."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._room_waiting.append(waiter)
        await waiter

    def _tell_of_room(self) -> None:
        """Let as many look again as there is room for; all of them once the process is gone."""
        room = BACKLOG_LIMIT - len(self._pending)
        while self._room_waiting and (room > 0 or self._line_ended.is_set()):
            waiter = self._room_waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                room -= 1

    async def _start(self) -> None:
        if self._closed:
            raise StorageUnavailableError("the store is closed")
        loop = asyncio.get_running_loop()
        if self._loop not in (None, loop):
            raise RuntimeError("a store serves one event loop; open another store for this one")
        await asyncio.shield(self._starting or self._begin_start(loop))

    def _begin_start(self, loop: asyncio.AbstractEventLoop) -> asyncio.Task[None]:
        self._loop = loop
        self._starting = loop.create_task(self._open_line(loop), name="storage writer")
        return self._starting

    async def _open_line(self, loop: asyncio.AbstractEventLoop) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", PROGRAM, str(theirs.fileno()), str(os.getpid())]
            # On this thread, whose end is what the system tells the process of.
            try:
                self._process = subprocess.Popen(  # noqa: ASYNC220, S603 - see below; our own module
                    [*command, *self._arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(), *self._keep_open),
                )
            except OSError as error:  # no process to be had: the thread does it all
                _log.warning("storage writer not started", error=str(error))
                ours.close()
                self._line_ended.set()
                return
        ours.setblocking(False)
        transport, _ = await loop.create_connection(lambda: self, sock=ours)
        self._line = transport

    def _send(self) -> None:
        outbox, self._outbox = self._outbox, []
        if outbox and self._line is not None and not self._line.is_closing():
            self._line.write(writer_messages.encode(outbox))

    async def _do_again(self, pending: Pending) -> None:
        request, answer = pending
        try:
            name = await self._substitute.submit(request)
        except Exception as error:  # noqa: BLE001 - carried to the caller, who raises it
            if not answer.done():
                answer.set_exception(error)
        else:
            if not answer.done():
                answer.set_result(name)
