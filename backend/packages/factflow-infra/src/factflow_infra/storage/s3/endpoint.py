"""Where the requests of an S3 store go, by the environment variables that AWS's own tools read."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from factflow_infra.storage.address import StorageUriError

VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
"""The first one that is set counts; without any, it is AWS."""


def endpoint_of(environment: Mapping[str, str]) -> str | None:
    """Return the URL of the S3 server, None for that of AWS. It may begin with `http:`.

    Raises `StorageUriError` for what is no such URL, or holds credentials; its text does not repeat it.
    """
    name = next((name for name in VARIABLES if environment.get(name)), None)
    if name is None:
        return None
    hint = f"set {name} to https://HOST:PORT, or unset it for AWS"
    try:
        parts = urlsplit(environment[name])
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise StorageUriError(f"{name} is no http:// or https:// URL", hint=hint)
    if parts.username or parts.password:
        raise StorageUriError(
            f"{name} holds credentials",
            hint="give them as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        )
    return f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/")


def shown_endpoint(endpoint: str | None) -> str:
    """Return what people are told about where requests go."""
    return endpoint or "AWS"
