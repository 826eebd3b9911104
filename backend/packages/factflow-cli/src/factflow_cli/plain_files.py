"""A folder that a server's archive of stored objects is unpacked into: the layout of `file://`."""

import contextlib
import json
import os
import re
import secrets
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from factflow_cli.errors import CliError

SUMMARY = ".factflow-tmp-archive.json"
"""The archive's last member, which says what is in it."""
TEMPORARY = ".factflow-tmp-"
"""What an unfinished file's name begins with; a store takes no notice of it."""
MARKER = ".factflow-packed"
RECORD_SUFFIX = ".meta.json"
TOLD_EVERY = 1000
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass
class Unpacked:
    """What has become of an archive. `present` was there already, and was left as it is."""

    objects: int = 0
    records: int = 0
    written: int = 0
    present: int = 0
    bytes: int = 0
    left_out: list[str] = field(default_factory=list)
    left_out_count: int = 0
    missing: list[str] = field(default_factory=list)
    missing_count: int = 0


class ByteStream:
    """Chunks that arrive, read as a file is."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._left = b""

    def read(self, size: int) -> bytes:
        """Return so many bytes; fewer at the end."""
        parts, missing = [], size
        while missing > 0:
            if not self._left:
                self._left = next(self._chunks, b"")
                if not self._left:
                    break
            part, self._left = self._left[:missing], self._left[missing:]
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)


class PlainFiles:
    """Writes objects and records below a folder, and nowhere else.

    With `below` only those whose names begin with it, which the files' names then lack.
    """

    def __init__(self, folder: Path, below: str = "") -> None:
        self._folder = folder
        self._below = below
        self._known: set[str] = set()
        with _told(folder):
            folder.mkdir(parents=True, exist_ok=True)
        if (folder / MARKER).exists():
            raise CliError(
                f"{folder} holds packed storage", hint="name another folder with --output-dir"
            )

    def unpack(self, chunks: Iterator[bytes], tell: Callable[[Unpacked], None]) -> Unpacked:
        """Write what an archive holds; `tell` is given the progress now and then.

        A file that is there as it should be is left alone. Raises `CliError` when the archive breaks off,
        when it names a place outside of the folder, and when a file is there with something else in it.
        """
        done = Unpacked()
        summary: dict[str, Any] | None = None
        try:
            # An unfamiliar kind of file object, but `r|` asks no more of one than `read`.
            with tarfile.open(fileobj=ByteStream(chunks), mode="r|") as archive:  # type: ignore[call-overload]
                for member in archive:
                    content = archive.extractfile(member) if member.isreg() else None
                    data = b"" if content is None else content.read()
                    archive.members.clear()  # it remembers each one, and there may be millions
                    if member.name == SUMMARY:
                        summary = json.loads(data)
                        continue
                    self._keep(member, data, done)
                    if (done.objects + done.records) % TOLD_EVERY == 0:
                        tell(done)
        except (tarfile.TarError, ValueError, EOFError) as error:
            raise _broken_off(str(error)) from error
        if summary is None or (summary["objects"], summary["records"]) != (
            done.objects,
            done.records,
        ):
            raise _broken_off("its end is missing")
        done.left_out, done.left_out_count = summary["left_out"], summary["left_out_count"]
        done.missing = summary.get("missing", [])
        done.missing_count = summary.get("missing_count", 0)
        tell(done)
        return done

    def _keep(self, member: tarfile.TarInfo, data: bytes, done: Unpacked) -> None:
        name = member.name.removeprefix(self._below)
        parts = name.split("/")
        inside = member.name.startswith(self._below) and not name.startswith("/")
        if not (member.isreg() and inside and all(map(_is_harmless, parts))):
            raise CliError(
                f"the server sent {member.name!r}, which is no name of a stored object",
                hint="is it a Factflow server?",
            )
        if name.endswith(RECORD_SUFFIX):
            done.records += 1
        else:
            done.objects += 1
        path = self._folder / name
        with _told(path):
            self._make_folder(name.rpartition("/")[0])
            if self._stands(path, data):
                done.present += 1
                return
            _write(path, data, member.mtime)
            done.written += 1
            done.bytes += len(data)

    def _make_folder(self, folder: str) -> None:
        """Make a folder and those above it; none of them may be a link, which could lead anywhere."""
        if not folder or folder in self._known:
            return
        self._make_folder(folder.rpartition("/")[0])
        path = self._folder / folder
        if path.is_symlink():
            raise CliError(f"{path} is a symbolic link", hint="name an empty folder")
        path.mkdir(exist_ok=True)
        self._known.add(folder)

    @staticmethod
    def _stands(path: Path, data: bytes) -> bool:
        if not os.path.lexists(path):
            return False
        other = path.is_symlink() or not path.is_file() or path.stat().st_size != len(data)
        if other or path.read_bytes() != data:
            raise CliError(
                f"{path} is there already, and is something else", hint="name an empty folder"
            )
        return True


def _is_harmless(segment: str) -> bool:
    if os.name == "nt" and (":" in segment or segment.rstrip(". ") != segment):
        return False
    return (
        segment not in {"", ".", ".."}
        and not segment.startswith(TEMPORARY)
        and "\\" not in segment
        and not _CONTROL.search(segment)
    )


def _write(path: Path, data: bytes, modified_at: float) -> None:
    """Write a file so that it is whole from the moment it has its name."""
    temporary = path.with_name(f"{TEMPORARY}{secrets.token_hex(8)}")
    try:
        temporary.write_bytes(data)
        os.utime(temporary, (modified_at, modified_at))
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _broken_off(reason: str) -> CliError:
    return CliError(
        f"the archive breaks off: {reason}",
        hint="run the command again: what is written already is not written twice",
        passing=True,
    )


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CliError(f"cannot write {path}: {error.strerror or error}") from error
