"""The names in one folder in order, however many there are, in one pass over the folder.

Short lists of names are put in order as they come. Once `NAMES_HELD` have gathered they go to a temporary
file, and what is in order there is merged at the end. So memory does not grow with the folder, which is
not read again: measured, a pass over a million entries takes a second, and their names would take 100 MB.
"""

from __future__ import annotations

import os
import tempfile
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import chain
from typing import IO

NAMES_HELD = 20_000
RUN = 5_000
"""Names put in order at once. Nothing else runs meanwhile; this many take a millisecond or two."""
BLOCK = 16 * 1024
"""Bytes of each part of the temporary file that are looked at together."""

Named = Callable[["os.DirEntry[str]"], "str | None"]


def in_order(path: str, named: Named, *, held: int = NAMES_HELD) -> Iterator[str | None]:
    """Yield what `named` makes of a folder's entries, in order, leaving out None; a None that is yielded is
    a moment to let others run. A folder that is gone has no names."""
    run = min(RUN, max(held // 4, 1))
    runs: list[list[str]] = []
    names: list[str] = []
    spilled: _Spilled | None = None
    try:
        for name in _names(path, named):
            names.append(name)
            if len(names) < run:
                continue
            names.sort()
            runs.append(names)
            names = []
            yield None
            if len(runs) * run >= held:
                spilled = spilled or _Spilled()
                spilled.add(sorted(chain.from_iterable(runs)))
                runs = []
                yield None
        names.sort()
        rest = sorted(chain.from_iterable([*runs, names]))
        runs, names = [], []
        if spilled is None:
            yield from rest
            return
        yield None
        spilled.add(rest)
        del rest
        yield from spilled.merged()
    finally:
        if spilled is not None:
            spilled.close()


def _names(path: str, named: Named) -> Iterator[str]:
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(path) as entries:
        for entry in entries:
            name = named(entry)
            if name is not None:
                yield name


class _Spilled:
    """Lists of names in a temporary file, each in order."""

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        self._parts: list[_Part] = []

    def add(self, names: list[str]) -> None:
        """Take names that are in order."""
        if names:
            start = self._file.tell()
            self._file.write("\n".join([*names, ""]).encode())
            self._parts.append(_Part(self._file, start, self._file.tell()))

    def merged(self) -> Iterator[str | None]:
        """Yield the names of all lists in order, with a None now and then."""
        self._file.flush()
        parts = self._parts
        while parts:
            for part in parts:
                part.fill()
            parts = [part for part in parts if part.names]
            if not parts:
                return
            # What lies behind this may be followed in some part by a name that was not read yet.
            safe = min((part.names[-1] for part in parts if not part.at_end), default=None)
            taken = [part.take(safe) for part in parts]
            yield None
            yield from sorted(chain.from_iterable(taken))

    def close(self) -> None:
        """Forget all names."""
        self._file.close()


class _Part:
    """One list in the file, a block of which is held."""

    def __init__(self, file: IO[bytes], start: int, end: int) -> None:
        self._descriptor = file.fileno()
        self._at = start
        self._end = end
        self._cut = b""
        self.names: list[str] = []

    @property
    def at_end(self) -> bool:
        """Tell whether no name is left in the file."""
        return self._at == self._end

    def fill(self) -> None:
        """Read the next block when none is held."""
        while not self.names and not self.at_end:
            data = os.pread(self._descriptor, min(BLOCK, self._end - self._at), self._at)
            if not data:
                raise OSError("a temporary file was cut short")
            self._at += len(data)
            whole, _, rest = (self._cut + data).rpartition(b"\n")
            self._cut = rest
            self.names = whole.decode().split("\n") if whole else []

    def take(self, last: str | None) -> list[str]:
        """Return the names held up to `last`, all when that is None."""
        count = len(self.names) if last is None else bisect_right(self.names, last)
        taken, self.names = self.names[:count], self.names[count:]
        return taken
