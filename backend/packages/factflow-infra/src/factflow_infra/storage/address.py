"""What a storage URI names: a kind of store and its place."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import SplitResult, unquote, urlsplit

from factflow_foundation.keys import check_key
from factflow_protocols.errors import KeyRefusedError, StorageError


class StorageUriError(StorageError):
    """A storage URI names no store that Factflow knows."""

    code = "storage_uri_invalid"


@dataclass(frozen=True, slots=True)
class FolderAddress:
    """A store in a folder of this machine, which may be relative to the working directory."""

    kind: Literal["file", "packed"]
    folder: Path

    @property
    def uri(self) -> str:
        """The absolute URI."""
        return self.folder.absolute().as_uri().replace("file://", f"{self.kind}://", 1)


@dataclass(frozen=True, slots=True)
class BucketAddress:
    """A store in a bucket of S3, below a prefix ('' is all of the bucket)."""

    bucket: str
    prefix: str
    kind: Literal["s3"] = "s3"

    @property
    def uri(self) -> str:
        """The URI, in one way of writing it."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")


StorageAddress = FolderAddress | BucketAddress

_FOLDER_HINT = (
    "write file:///absolute/path or file://./relative/path, or packed:// instead of file://"
)
_HINT = f"{_FOLDER_HINT}; or s3://bucket/prefix"
_BUCKET_HINT = "write s3://bucket/prefix; credentials and endpoint come from AWS_… variables"
SIGNED_IN_TWO_WAYS = r"[ ~*]"
"""Signs that the S3 library sends in one way in a query and signs in another. AWS takes both for the same; of
the servers that speak its protocol, not all do."""
_UNORDERED = "--x-s3"
"""How the names of directory buckets end, whose listings are in no order."""
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")
"""What S3 takes, and what older buckets have."""


def parse_storage_uri(uri: str) -> StorageAddress:
    """Return what a storage URI names. Raises `StorageUriError`, whose text repeats no credentials."""
    try:
        parts = urlsplit(uri)
    except ValueError as error:
        raise StorageUriError(f"the storage URI cannot be read: {error}", hint=_HINT) from error
    if not parts.scheme:
        raise StorageUriError("the storage URI has no scheme", hint=_HINT)
    if parts.scheme == "file":
        return FolderAddress("file", _folder(uri, parts))
    if parts.scheme == "packed":
        return FolderAddress("packed", _folder(uri, parts))
    if parts.scheme == "s3":
        return _bucket(uri, parts)
    raise StorageUriError(f"no storage provider for {parts.scheme}:// URIs", hint=_HINT)


def _folder(uri: str, parts: SplitResult) -> Path:
    scheme = _checked_scheme(uri, parts)
    if parts.netloc in {"", "localhost"}:
        path = unquote(parts.path)
    elif parts.netloc in {".", ".."}:
        path = parts.netloc + unquote(parts.path)
    else:
        raise StorageUriError(
            f"a {scheme}:// URI cannot name the host {parts.netloc!r}", hint=_FOLDER_HINT
        )
    if not path or "\0" in path:
        raise StorageUriError("the storage URI names no folder", hint=_FOLDER_HINT)
    return Path(path)


def _bucket(uri: str, parts: SplitResult) -> BucketAddress:
    _checked_scheme(uri, parts)
    if "@" in parts.netloc:
        raise StorageUriError("an s3:// storage URI holds no credentials", hint=_BUCKET_HINT)
    if not _BUCKET.fullmatch(parts.netloc):
        raise StorageUriError(
            f"{parts.netloc!r} is not the name of an S3 bucket", hint=_BUCKET_HINT
        )
    if parts.netloc.endswith(_UNORDERED):
        raise StorageUriError(
            f"{parts.netloc!r} is a directory bucket, whose listings have no order",
            hint="name a general purpose bucket",
        )
    prefix = unquote(parts.path).strip("/")
    if re.search(SIGNED_IN_TWO_WAYS, prefix):
        raise StorageUriError(
            "the prefix of an s3:// storage URI has no spaces, tildes and asterisks",
            hint="choose another one: not every server takes signed requests with them",
        )
    try:
        return BucketAddress(parts.netloc, check_key(prefix) if prefix else "")
    except KeyRefusedError as error:
        raise StorageUriError(
            f"the prefix of the s3:// storage URI cannot be used: {error.message}",
            hint=_BUCKET_HINT,
        ) from error


def _checked_scheme(uri: str, parts: SplitResult) -> str:
    scheme, slashes, _ = uri.partition("://")
    if not slashes:
        raise StorageUriError(
            f"a {scheme.partition(':')[0]}: storage URI needs two slashes", hint=_HINT
        )
    if parts.query or parts.fragment:
        raise StorageUriError(
            f"a {scheme}:// storage URI takes neither '?' nor '#'", hint="write them as %3F and %23"
        )
    return scheme
