"""Where things lie in storage.

executions/<execution-id>/<route>/<stage>/<message-id>[.ext]    an artefact
executions/<execution-id>/<route>/<stage>/<message-id>~damaged  the record of a message that failed
                                                                because its own cannot be read
executions/<execution-id>/<route>/<stage>/<message-id>~children-<n>.json
                                                                a part of a long list of children
executions/<execution-id>/_init[.ext]                           the init payload
executions/<execution-id>/_plan                                 what a replay publishes
executions/<execution-id>/_dead/<queue>/<message-id>[.ext]      a copy of a failed message's input

Routes never begin with `_`, so what does is none.
"""

from __future__ import annotations

import functools
import mimetypes
import re
from urllib.parse import quote

from factflow_protocols.errors import KeyRefusedError

ROOT = "executions"
MAX_KEY_BYTES = 1024
MAX_SEGMENT_BYTES = 200

# A segment of letters, digits, `_`, `-`, `~` and dots that does not begin with a dot; short enough.
_PLAIN = re.compile(
    r"[A-Za-z0-9_~-][A-Za-z0-9_.~-]{0,120}(?:/[A-Za-z0-9_~-][A-Za-z0-9_.~-]{0,120}){0,7}"
)
_STAND_IN = "~damaged"
_CHILDREN = "~children-"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

_EXTENSIONS = {
    "application/json": ".json",
    "text/html": ".html",
    "text/markdown": ".md",
    "text/plain": ".txt",
    "application/octet-stream": ".bin",
}


def execution_prefix(execution_id: str) -> str:
    """Return the folder of an execution."""
    return f"{ROOT}/{execution_id}"


def route_prefix(execution_id: str, route: str) -> str:
    """Return the folder of a route within an execution."""
    return f"{ROOT}/{execution_id}/{route}"


def stage_key(execution_id: str, route: str, stage: str, message_id: str) -> str:
    """Return the key of a message's artefact and record at a stage."""
    return f"{ROOT}/{execution_id}/{route}/{stage}/{message_id}"


def stage_prefix(execution_id: str, route: str, stage: str) -> str:
    """Return the folder of a stage within an execution."""
    return f"{ROOT}/{execution_id}/{route}/{stage}"


def init_key(execution_id: str) -> str:
    """Return the key of the init payload."""
    return f"{ROOT}/{execution_id}/_init"


def plan_key(execution_id: str) -> str:
    """Return the key of a replay's plan."""
    return f"{ROOT}/{execution_id}/_plan"


def children_key(key: str, number: int) -> str:
    """Return the key of a part of a list of children that is too long for the record under `key`."""
    return f"{key}{_CHILDREN}{number}"


def tells_announced(name: str) -> bool:
    """Tell whether an object says what was announced, as against an artefact: a plan, a list of children."""
    segment = name.rpartition("/")[2]
    return _CHILDREN in segment or segment == "_plan"


def execution_of(key: str) -> str | None:
    """Return the id of the execution that a key belongs to, None for other keys."""
    root, _, rest = key.partition("/")
    execution, slash, _ = rest.partition("/")
    return execution if root == ROOT and slash else None


def dead_letter_key(execution_id: str, queue: str, message_id: str) -> str:
    """Return the key of a failed message's copy. Slashes in the queue's name become `%2F`."""
    return f"{ROOT}/{execution_id}/_dead/{quote(queue, safe=':')}/{message_id}"


def is_stage_key(execution_id: str, key: str) -> bool:
    """Tell whether a key of an execution belongs to a stage, as against what begins with `_`."""
    return not key.startswith(f"{ROOT}/{execution_id}/_")


def stand_in_key(key: str) -> str:
    """Return where a message's failure stands when the record under its own key cannot be read."""
    return key + _STAND_IN


def stood_in_for(key: str) -> str:
    """Return the key that a stand-in belongs to; any other key as it is."""
    return key.removesuffix(_STAND_IN)


@functools.lru_cache(maxsize=256)
def extension_for(content_type: str) -> str:
    """Return the file extension for a content type, '' when there is no telling one."""
    bare = content_type.partition(";")[0].strip().lower()
    return _EXTENSIONS.get(bare) or mimetypes.guess_extension(bare) or ""


def check_key(key: str) -> str:
    """Return the key unchanged, or raise `KeyRefusedError` saying what is wrong with it."""
    if not key:
        raise KeyRefusedError("a storage key must not be empty")
    if key.startswith("/"):
        raise KeyRefusedError(f"storage key {key!r} is absolute; keys are relative to the store")
    if _PLAIN.fullmatch(key):
        return key  # as every key we build ourselves; the rest is for what comes from outside
    if _CONTROL.search(key):
        raise KeyRefusedError(f"storage key {key!r} holds a control character")
    if "\\" in key:
        raise KeyRefusedError(f"storage key {key!r} holds a backslash")
    try:
        encoded = key.encode()
    except UnicodeEncodeError as error:
        raise KeyRefusedError(f"storage key {key!r} is not valid Unicode") from error
    if len(encoded) > MAX_KEY_BYTES:
        raise KeyRefusedError(f"storage key of {len(encoded)} bytes; at most {MAX_KEY_BYTES}")
    for segment in key.split("/"):
        if segment in {"", ".", ".."}:
            raise KeyRefusedError(f"storage key {key!r} has the path segment {segment!r}")
        if len(segment.encode()) > MAX_SEGMENT_BYTES:
            raise KeyRefusedError(
                f"storage key {key!r} has a segment over {MAX_SEGMENT_BYTES} bytes"
            )
    return key
