"""Writing to stdout and stderr: nothing that arrives from a server can steer the terminal.

Results go to stdout, all else to stderr. A reader that goes away (`| head`) is no error.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

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
    except ValueError:
        return False


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
    """Write to stdout; once its reader is gone, everything further is dropped."""
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        _close_for_good()


def _close_for_good() -> None:
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
    """Write a value to stdout as JSON on one line."""
    text = json.dumps(value, ensure_ascii=False)
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
