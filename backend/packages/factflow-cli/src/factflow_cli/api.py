"""The HTTP client: one method per verb, every way an answer can go wrong turned into a `CliError`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from factflow_cli.errors import CliError, unexpected_answer
from factflow_cli.exit_codes import ExitCode, for_http_status
from factflow_cli.server_address import API_PREFIX, is_local, shown

if TYPE_CHECKING:
    import httpx2

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 60.0
"""How long an answer may take when neither the command nor `--timeout` says otherwise."""
SILENCE_SECONDS = 60.0
"""A stream that is alive says something every 15 seconds."""

_IDEMPOTENCY_KEY = re.compile(r"[!-~]{1,255}")

Json = dict[str, Any]


def path(*segments: str) -> str:
    """Return an API path; every segment stays one segment, whatever characters it holds."""
    for segment in segments:
        if not segment.strip():
            raise CliError("an id must not be empty", hint="list what there is: factflow --help")
    return "/" + "/".join(_segment(segment) for segment in segments)


def key_path(key: str) -> str:
    """Return a storage key for use in a path: slashes stay, dot segments are not resolved."""
    if not key.strip():
        raise CliError("a key must not be empty", hint="factflow storage list --execution ID")
    return "/".join(_segment(segment) for segment in key.split("/"))


def _segment(text: str) -> str:
    return "%2E" * len(text) if text in {".", ".."} else quote(text, safe="")


class Api:
    """Talks to one server. Close it when done; `url` is the server's address without a path."""

    def __init__(
        self, url: str, *, answer_seconds: float | None = None, token: str | None = None
    ) -> None:
        import ssl

        import httpx2

        self.url = url
        # Reading whom this machine trusts takes 30 ms, and plain HTTP without a proxy asks nobody for it.
        plain = url.startswith("http:") and is_local(url)
        self._httpx = httpx2
        self._answer_seconds = answer_seconds
        self._client = httpx2.Client(
            base_url=url + API_PREFIX,
            trust_env=not is_local(url),
            verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if plain else True,
            headers={"User-Agent": "factflow-cli", "Accept": "application/json"}
            | ({} if token is None else {"Authorization": f"Bearer {token}"}),
            follow_redirects=False,  # a token is for the server that was named
        )

    def close(self) -> None:
        """Give the connection back."""
        self._client.close()

    def get(self, where: str, /, *, seconds: float | None = None, **query: Any) -> Json:
        """Ask for an object; query values of None are left out. `seconds` as for `post`."""
        return self._object("GET", where, query=query, seconds=seconds)

    def post(
        self,
        where: str,
        body: Any = None,
        *,
        seconds: float | None = None,
        idempotency_key: str | None = None,
        **query: Any,
    ) -> Json:
        """Send a JSON body; `seconds` is how long the answer may take. To a key that was sent before the
        server answers with what it started then."""
        headers = None if idempotency_key is None else {"Idempotency-Key": _key(idempotency_key)}
        return self._object("POST", where, body=body, query=query, headers=headers, seconds=seconds)

    def put(self, where: str, body: Json) -> Json:
        """Replace something."""
        return self._object("PUT", where, body=body)

    def patch(self, where: str, body: Mapping[str, Any]) -> Json:
        """Change something."""
        return self._object("PATCH", where, body=body)

    def delete(self, where: str) -> None:
        """Delete something; the answer's body is not looked at."""
        with self._answer("DELETE", where) as response:
            response.read()

    @contextmanager
    def download(self, where: str, **query: Any) -> Iterator[httpx2.Response]:
        """Yield the answer to GET with its body not yet read: use `iter_bytes`."""
        with self._answer("GET", where, query=query, headers={"Accept": "*/*"}) as response:
            yield response

    @contextmanager
    def events(
        self, where: str, /, body: Any = None, *, last_id: str | None = None, **query: Any
    ) -> Iterator[Iterator[httpx2.ServerSentEvent]]:
        """Yield the events of a stream, which is silent for `SILENCE_SECONDS` at most while all is well. With
        a body it is asked for by POST."""
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        if last_id is not None:
            headers["Last-Event-ID"] = last_id
        method = "GET" if body is None else "POST"
        with self._answer(
            method, where, body=body, query=query, headers=headers, seconds=SILENCE_SECONDS
        ) as response:
            kind = response.headers.get("content-type", "")
            if response.status_code != 204 and not kind.startswith("text/event-stream"):
                raise unexpected_answer(
                    f"{where} gave no stream of events, but {kind or 'nothing'}"
                )
            yield iter(() if response.status_code == 204 else self._httpx.EventSource(response))

    def _object(
        self,
        method: str,
        where: str,
        *,
        body: Any = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        seconds: float | None = None,
    ) -> Json:
        with self._answer(
            method, where, body=body, query=query, headers=headers, seconds=seconds
        ) as response:
            value = _decoded(response.read())
        if not isinstance(value, dict):
            raise unexpected_answer(f"{method} {where} gave no JSON object")
        return value

    @contextmanager
    def _answer(
        self,
        method: str,
        where: str,
        *,
        body: Any = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        seconds: float | None = None,
    ) -> Iterator[httpx2.Response]:
        params = {
            name: _query_value(value) for name, value in (query or {}).items() if value is not None
        }
        content = None if body is None else json.dumps(body).encode()
        all_headers = dict(headers or {})
        if content is not None:
            all_headers["Content-Type"] = "application/json"
        limit = max(seconds or 0, self._answer_seconds or ANSWER_SECONDS)
        timeout = self._httpx.Timeout(limit, connect=min(limit, CONNECT_SECONDS))
        with (
            self._network_errors(limit),
            self._client.stream(
                method,
                where,
                params=params,
                content=content,
                headers=all_headers,
                timeout=timeout,
            ) as response,
        ):
            if not response.is_success:
                raise _refusal(response.status_code, response.headers, response.read(), self.url)
            yield response

    @contextmanager
    def _network_errors(self, limit: float) -> Iterator[None]:
        httpx = self._httpx
        url = shown(self.url)
        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise _no_connection(self.url, str(error)) from error
        except httpx.TimeoutException as error:
            raise CliError(
                f"the server at {url} did not answer within {limit:g}s",
                hint="give it longer with --timeout, or look with: factflow system health",
                exit_code=ExitCode.TIMEOUT,
            ) from error
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise CliError(f"{url} cannot be asked: {error}") from error
        except httpx.DecodingError as error:
            raise unexpected_answer(str(error)) from error
        except httpx.HTTPError as error:
            raise CliError(
                f"the server at {url} broke off its answer: {error}",
                hint="try again; is it being stopped?",
                exit_code=ExitCode.UNREACHABLE,
                code="server_unreachable",
                passing=True,
            ) from error


def unreachable(url: str, reason: str) -> CliError:
    """Return the error for a server that nobody answers for."""
    start = "start one: factflow serve" if is_local(url) else "is the address right?"
    return CliError(
        f"no server answers at {shown(url)} ({reason or 'no connection'})",
        hint=f"{start}   or name another one: --server URL",
        exit_code=ExitCode.UNREACHABLE,
        code="server_unreachable",
        passing=True,
    )


def _no_connection(url: str, reason: str) -> CliError:
    """Tell a server that is not there from one with which TLS does not come about."""
    if "SSL" not in reason and "certificate" not in reason:
        return unreachable(url, reason)
    plain = shown(url).replace("https:", "http:", 1)
    own = "is it signed by an authority of your own? Name its file in SSL_CERT_FILE"
    return CliError(
        f"no TLS with {shown(url)}: {reason}",
        hint=own if "CERTIFICATE" in reason else f"does it speak plain HTTP? --server {plain}",
        exit_code=ExitCode.UNREACHABLE,
    )


def rows(answer: Mapping[str, Any], name: str) -> list[Json]:
    """Return a list of objects out of an answer; raise `CliError` when it is none."""
    value = answer.get(name)
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise unexpected_answer(f"{name!r} is no list of objects")
    return value


def text(answer: Mapping[str, Any], name: str) -> str:
    """Return a non-empty text out of an answer; raise `CliError` when it is none."""
    value = answer.get(name)
    if not isinstance(value, str) or not value:
        raise unexpected_answer(f"{name!r} is missing")
    return value


def _key(text: str) -> str:
    if not _IDEMPOTENCY_KEY.fullmatch(text):
        raise CliError(
            "an idempotency key has 1 to 255 visible ASCII characters and no blank",
            hint="a date or a UUID serves: --idempotency-key nightly-2026-03-01",
        )
    return text


def _query_value(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


def _decoded(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _refusal(status: int, headers: Mapping[str, str], body: bytes, url: str) -> CliError:
    """Turn an answer of 300 and above into an error, whether Factflow or a stranger gave it."""
    answer = _decoded(body)
    if status < 400:
        target = headers.get("location", "elsewhere")
        return CliError(
            f"{shown(url)} points to {shown(target)} instead of answering",
            hint="give that address with --server",
            exit_code=ExitCode.SERVER_ERROR,
        )
    if not isinstance(answer, dict) or "detail" not in answer:
        return CliError(
            f"{shown(url)} answered {status}, but not as a Factflow server would",
            hint="check the address given with --server",
            exit_code=for_http_status(status) if status >= 500 else ExitCode.SERVER_ERROR,
        )
    message = _detail(answer["detail"]) or f"the server answered {status}"
    if status >= 500 and answer.get("correlation_id"):
        message = f"{message} (correlation id {answer['correlation_id']})"
    issues = answer.get("issues")
    return CliError(
        message,
        hint=str(answer.get("hint") or ""),
        exit_code=for_http_status(status),
        code=str(answer.get("error_code") or ""),
        passing=status == 503,
        issues=[row for row in issues if isinstance(row, dict)] if isinstance(issues, list) else (),
    )


def _detail(detail: Any) -> str:
    """Return the server's words; field errors are listed as `field: what is wrong`."""
    if not isinstance(detail, Sequence) or isinstance(detail, str):
        return str(detail or "")
    said = []
    for part in detail:
        where = part.get("loc") if isinstance(part, dict) else None
        place = ".".join(str(step) for step in where) if isinstance(where, list) else ""
        what = part.get("msg", part) if isinstance(part, dict) else part
        said.append(f"{place}: {what}" if place else str(what))
    return "; ".join(said)
