"""Which server to talk to: its URL, checked and put into one form."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit, urlunsplit

from factflow_cli.errors import CliError

DEFAULT_SERVER = "http://127.0.0.1:8000"
SERVER_VARIABLE = "FACTFLOW_SERVER_URL"
API_PREFIX = "/api/v1"
_HINT = f"write it like --server {DEFAULT_SERVER}, or set {SERVER_VARIABLE}"


def server_url(text: str) -> str:
    """Return the URL without trailing slash and API prefix; raise `CliError` when it is not one."""
    try:
        parts = urlsplit(text.strip())
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise CliError(f"the server address is not a URL: {error}", hint=_HINT) from error
    if parts.scheme not in {"http", "https"} or not host:
        raise CliError(f"server address {shown(text)!r} is not an http:// URL", hint=_HINT)
    path = parts.path.rstrip("/").removesuffix(API_PREFIX)
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def shown(url: str) -> str:
    """Return the URL without a user name and password, fit for messages."""
    head, at, tail = url.rpartition("@")
    if not at:
        return url
    scheme, slashes, _ = head.partition("//")
    return f"{scheme}{slashes}{tail}" if slashes else tail


def is_local(url: str) -> bool:
    """Whether the URL points at this machine (such requests never go through a proxy)."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
