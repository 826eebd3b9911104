"""The program that a writer process runs: `python -m factflow_infra.storage.writer_program …`.

It is started by `writer_process` and by nobody else: it is given the descriptor of a socket, the folder,
whether to write through to the disk, and `packed` or the kind of staged files. It ends when the other end
of the socket is closed, or when the process that started it has died, once all that it was handed is
written.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from factflow_foundation import crash_points
from factflow_infra.storage import writer_messages
from factflow_infra.storage.disk_writer import DiskWriter
from factflow_infra.storage.folders import Folders
from factflow_infra.storage.packed.pack_writer import PackWriter
from factflow_infra.storage.packed_marker import PACKED
from factflow_infra.storage.staged_file import KINDS
from factflow_infra.storage.writer_messages import Answer, Request

PIECE_BYTES = 256 * 1024
FILES_TOGETHER = 16
PACKED_TOGETHER = 64
"""Requests answered together: more would keep the first of them waiting, but a transaction of few costs more
for each."""
_PR_SET_PDEATHSIG = 1  # prctl(2)


class _OrphanedError(Exception):
    """Nobody will send anything any more."""


class WriterProgram:
    """Reads requests, carries them out in order, and answers a frame at a time."""

    def __init__(self, line: socket.socket, writer: DiskWriter | PackWriter, parent: int) -> None:
        self._line = line
        self._writer = writer
        self._parent = parent
        self._together = PACKED_TOGETHER if isinstance(writer, PackWriter) else FILES_TOGETHER
        self._idle = False

    def run(self) -> None:
        """Work until the line ends."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is for the server, which then closes
        signal.signal(signal.SIGTERM, self._signalled)
        _tell_when_the_parent_dies()
        frames = writer_messages.Frames()
        while piece := self._receive():
            # What has come while the last batch was written is the next one.
            requests = [r for frame in frames.add(piece) for r in writer_messages.requests(frame)]
            for first in range(0, len(requests), self._together):
                self._answer(requests[first : first + self._together])

    def _receive(self) -> bytes:
        try:
            self._idle = True
            self._check_parent()
            piece = self._line.recv(PIECE_BYTES)
        except _OrphanedError:
            self._idle = False
            self._line.setblocking(False)  # what lies in the line still counts
            with contextlib.suppress(BlockingIOError, ConnectionResetError):
                return self._line.recv(PIECE_BYTES)
            return b""
        except ConnectionResetError:
            return b""
        finally:
            self._idle = False
        return piece

    def _signalled(self, _number: int, _frame: FrameType | None) -> None:
        if self._idle:
            self._check_parent()

    def _check_parent(self) -> None:
        if os.getppid() != self._parent:
            raise _OrphanedError

    def _answer(self, requests: Sequence[Request]) -> None:
        outcomes = self._writer.perform_all([request.what for request in requests])
        answers = [
            Answer(request.number, None, writer_messages.refusal(outcome))
            if isinstance(outcome, Exception)
            else Answer(request.number, outcome, None)
            for request, outcome in zip(requests, outcomes, strict=True)
        ]
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._line.sendall(writer_messages.encode(answers))


def _tell_when_the_parent_dies() -> None:
    """Have the system send SIGTERM then (Linux); elsewhere the end of the line is all there is.

    A process that the server forked without a new program may hold the server's end of the line open.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def main(arguments: list[str]) -> None:
    """Run the program."""
    descriptor, parent, root, durability, kind = arguments
    durable = durability == "fsync"
    crash_points.end_also(int(parent))
    with socket.socket(fileno=int(descriptor)) as line, contextlib.ExitStack() as stack:
        # The line is closed last: then nothing is open any more, and another may write.
        writer: DiskWriter | PackWriter
        if kind == PACKED:
            writer = PackWriter(Path(root), durable=durable)
            stack.callback(writer.close)
        else:
            writer = DiskWriter(
                Path(root), Folders(root, durable=durable), KINDS[kind], durable=durable
            )
        WriterProgram(line, writer, int(parent)).run()


if __name__ == "__main__":
    main(sys.argv[1:])
