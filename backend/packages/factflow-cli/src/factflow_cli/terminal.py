"""Writing to stdout and stderr: nothing that arrives from a server can steer the terminal.

Results go to stdout, all else to stderr. A reader that goes away (`| head`) is no error.
"""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from factflow_cli.errors import CliError
from factflow_cli.exit_codes import ExitCode

_LINE_CONTROLS = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_TEXT_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_JSON_CONTROLS = re.compile(
    "[\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def is_terminal(stream: TextIO) -> bool:
    """Whether a person reads the stream."""
    try:
        return stream.isatty()
    except (AttributeError, ValueError):  # closed, or closed before the program began
        return False


def is_coloured(stream: TextIO) -> bool:
    """Whether to colour the stream: a terminal's, unless NO_COLOR or TERM=dumb; any, for FORCE_COLOR."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return os.environ.get("TERM") != "dumb" and is_terminal(stream)


def width() -> int:
    """Columns to fill: the terminal's, or 80 when there is none to ask."""
    return max(40, shutil.get_terminal_size(fallback=(80, 24)).columns)


def one_line(value: object) -> str:
    """Return the value as text on one line, control and direction characters made harmless."""
    return _LINE_CONTROLS.sub(_blank_or_code, str(value))


def harmless(text: str) -> str:
    """Return the text with its lines and tabs kept and other control characters spelled out."""
    return _TEXT_CONTROLS.sub(_code, text.replace("\r\n", "\n"))


def _blank_or_code(match: re.Match[str]) -> str:
    return " " if match[0] in "\t\n\r" else _code(match)


def _code(match: re.Match[str]) -> str:
    number = ord(match[0])
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"


def _json_code(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


def write_bytes(data: bytes) -> None:
    """Write to stdout; once its reader is gone, everything further is dropped.

    Raises `CliError` when what is written cannot be kept: a full disk, a closed stdout.
    """
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        _close_for_good()
    except AttributeError:
        raise not_written("stdout is closed") from None
    except OSError as error:
        _close_for_good()
        raise not_written(error.strerror or str(error)) from error


def not_written(reason: str) -> CliError:
    """Return the error for a result that did not get where it should."""
    return CliError(
        f"the result could not be written: {reason}",
        hint="what was asked of the server is done; ask for it again: factflow execution list",
        exit_code=ExitCode.NOT_WRITTEN,
    )


def end_when_unread() -> None:
    """End the process, with 0, as soon as the reader of stdout is gone, also while nothing is written.

    For what only tells of something and has nothing to clean up: whoever waits for the next event would
    find out by writing it, which may be hours away. Where the system cannot tell (Windows), it stays so.
    """
    if hasattr(select, "poll") and not reader_is_gone():
        watching = threading.Thread(target=_end_at_hangup, name="stdout-reader", daemon=True)
        watching.start()


def _end_at_hangup() -> None:
    poll = select.poll()
    try:
        poll.register(sys.stdout.fileno(), 0)  # a hangup and an error are told unasked
    except (OSError, ValueError, AttributeError):  # closed, or no file at all
        return
    if poll.poll():
        os._exit(ExitCode.OK)


def reader_is_gone() -> bool:
    """Whether a write has found that nobody reads stdout any more."""
    return _reader_is_gone.is_set()


_reader_is_gone = threading.Event()


def _close_for_good() -> None:
    _reader_is_gone.set()
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, sys.stdout.fileno())
    os.close(sink)


def write_text(text: str) -> None:
    """Write text to stdout as UTF-8, whatever the locale says."""
    write_bytes(text.encode("utf-8", "backslashreplace"))


def write_json(value: Any) -> None:
    """Write one JSON document to stdout, indented, with a line end."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    write_text(_JSON_CONTROLS.sub(_json_code, text) + "\n")


def write_json_line(value: Any) -> None:
    """Write one JSON document to stdout on one line."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    write_text(_JSON_CONTROLS.sub(_json_code, text) + "\n")


def say(message: str) -> None:
    """Tell the person something beside the result: one line on stderr."""
    _stderr(one_line(message))


def say_error(message: str, hint: str, issues: Sequence[Mapping[str, Any]] = ()) -> None:
    """Print `error: …`, what validation found, and `hint: …` on stderr."""
    if issues:
        message = message.partition("\n")[0]  # its further lines tell of the same findings
    _stderr(f"error: {one_line(message)}")
    for issue in issues:
        _stderr(f"  {issue_line(issue)}")
    if hint:
        _stderr(f"hint: {one_line(hint)}")


def _stderr(line: str) -> None:
    try:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        return  # nobody listens; the exit code still tells
    except UnicodeEncodeError:
        sys.stderr.write(line.encode("ascii", "backslashreplace").decode() + "\n")


def issue_line(issue: Mapping[str, Any], source: str = "") -> str:
    """Return `file:line  CODE  path  message (suggestion)` for one finding of validation."""
    line, suggestion = issue.get("line"), issue.get("suggestion")
    place = ":".join(str(part) for part in (source, line) if part)
    message = str(issue.get("message") or "")
    if suggestion:
        message = f"{message} ({suggestion})"
    parts = (place, issue.get("code"), issue.get("path"), message)
    return "  ".join(one_line(part) for part in parts if part)
