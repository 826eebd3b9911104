"""What an answer means: good, worth another attempt, or final. And what its headers say."""

from __future__ import annotations

import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import httpx2

from factflow_protocols.errors import PermanentError, TransientError

_TRANSIENT = frozenset({408, 425, 429})
_BUSY = frozenset({408, 429, 502, 503, 504})

_ADVICE = {
    401: "the page needs a login; pages behind a login cannot be scraped",
    403: "the site refuses this crawler; ask its owner, or set user_agent to one that it knows",
    404: "the page does not exist; take it out of the list or the sitemap",
    410: "the page is gone for good; take it out of the list or the sitemap",
    451: "the page is withheld for legal reasons",
}


class HostBusyError(TransientError):
    """The answer says that the host as a whole has too much to do (a 500 is trouble of one page)."""

    code = "host_busy"


class HttpStatusError(PermanentError):
    """The server answered with a status that will not change by asking again."""

    code = "http_status"


class ContentRefusedError(PermanentError):
    """The answer is too large or of a kind that was not asked for."""

    code = "content_refused"


def retry_after(headers: httpx2.Headers, *, now: Callable[[], float] = time.time) -> float | None:
    """Return the seconds a `Retry-After` header asks for (seconds or HTTP date), None without one."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now())
    except (ValueError, TypeError, OverflowError):
        return None


def check_status(url: str, response: httpx2.Response) -> None:
    """Return when the status is 2xx; raise `TransientError` (`HostBusyError` when
    the host as a whole is meant) or `HttpStatusError` otherwise."""
    status = response.status_code
    if 200 <= status < 300:
        return
    phrase = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else ""
    message = f"{url} answered {status} {phrase}".rstrip()
    if status in _TRANSIENT or status >= 500:
        kind = HostBusyError if status in _BUSY else TransientError
        raise kind(
            message,
            hint="the site is busy or broken; a later attempt may work",
            retry_after=retry_after(response.headers),
        )
    raise HttpStatusError(message, hint=_ADVICE.get(status, "check the URL in a browser"))


def media_type(headers: httpx2.Headers) -> str:
    """Return the bare content type in lower case, '' when none is given."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def check_content_type(url: str, headers: httpx2.Headers, allowed: tuple[str, ...]) -> None:
    """Raise `ContentRefusedError` unless the type is allowed or missing; `text/*` allows all text."""
    kind = media_type(headers)
    if not kind or not allowed or kind in allowed or f"{kind.partition('/')[0]}/*" in allowed:
        return
    raise ContentRefusedError(
        f"{url} is {kind[:80]!r}, not one of {', '.join(allowed)}",
        hint="exclude such URLs, or add the type to content_types",
    )


def too_large(url: str, max_bytes: int) -> ContentRefusedError:
    """Return the error for a body over the limit."""
    return ContentRefusedError(
        f"{url} is larger than {max_bytes} bytes",
        hint="raise max_bytes if such pages are wanted",
    )
