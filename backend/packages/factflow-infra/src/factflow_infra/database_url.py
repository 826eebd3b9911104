"""The URL of a PostgreSQL database: checked without repeating it, shown without what is secret in it."""

from __future__ import annotations

from urllib.parse import SplitResult, unquote, urlsplit

from sqlalchemy import URL

SCHEMES = ("postgresql", "postgres")


def check_database_url(text: str) -> str:
    """Return the URL unchanged. Raises ValueError for one that names no PostgreSQL database; its words
    repeat nothing of the URL, which may hold a password."""
    try:
        parts = urlsplit(text)
        _ports(parts)
    except ValueError as error:
        raise ValueError(
            "its host or port cannot be read; in a password, write the characters / ? # @ : % as %2F, "
            "%3F, %23, %40, %3A, %25"
        ) from error
    if parts.scheme not in SCHEMES:
        raise ValueError("it has to begin with postgresql://")
    if not parts.path.strip("/") or "/" in parts.path[1:] or parts.fragment:
        raise ValueError("it has to name a database: postgresql://USER:PASSWORD@HOST:PORT/DATABASE")
    return text


def shown_database_url(text: str) -> str:
    """Return what may be shown of a URL that was checked: neither a password nor any option."""
    parts = urlsplit(text)
    user = f"{parts.username}@" if parts.username else ""
    return f"postgresql://{user}{parts.netloc.rpartition('@')[2]}{parts.path}"


def address_of(text: str) -> URL:
    """Return the URL as SQLAlchemy names an engine: no password, no options. For people; the driver is
    given the URL itself, since it understands more of it."""
    parts = urlsplit(text)
    hosts = parts.netloc.rpartition("@")[2]
    return URL.create(
        "postgresql+asyncpg",
        username=unquote(parts.username) if parts.username else None,
        host=hosts or None,
        database=unquote(parts.path[1:]),
    )


def _ports(parts: SplitResult) -> None:
    """Raise ValueError unless every host's port is a number; there may be several hosts."""
    for host in parts.netloc.rpartition("@")[2].split(","):
        port = host.rpartition("]")[2].rpartition(":")[2] if ":" in host else ""
        if port and not (port.isascii() and port.isdigit()):
            raise ValueError("port")
