"""What the server can be told: by command line, by `FACTFLOW_…` environment variables, or by a file."""

from __future__ import annotations

import functools
import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from factflow_infra.database_url import check_database_url, shown_database_url
from factflow_infra.queue.brokers import broker_kind
from factflow_protocols.errors import FactflowError, QueueError
from factflow_server.access_tokens import AccessTokens

LOOPBACK_NAMES = frozenset({"localhost", "localhost."})


class ServerStartError(FactflowError):
    """The server cannot start; `exit_code` is what the process ends with."""

    code: ClassVar[str] = "start_refused"
    exit_code: ClassVar[int] = 2


class HostRefusedError(ServerStartError):
    """The address to listen on is not this machine's loopback."""

    code = "host_refused"


class ServerSettings(BaseSettings):
    """The server's settings; what the command line gives wins over the environment, and that over a file."""

    model_config = SettingsConfigDict(env_prefix="FACTFLOW_", extra="ignore", frozen=True)

    data_dir: Path = Path("./.factflow")
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    adapters: Annotated[tuple[str, ...], NoDecode] = ()
    """Modules with adapters of one's own, beside the installed ones."""
    allow_private_networks: bool = False
    durability: Literal["os", "fsync"] = "os"
    database_url: SecretStr | None = None
    """PostgreSQL for all tables, `postgresql://USER:PASSWORD@HOST:PORT/DATABASE`; files in the data folder
    when it is not given."""
    queue_url: SecretStr | None = None
    """RabbitMQ, `amqp://USER:PASSWORD@HOST:PORT/VHOST`, or NATS, `nats://USER:PASSWORD@HOST:PORT`; the queue
    in the data folder when it is `embedded` or not given."""
    storage_uri: str | None = None
    """Where artefacts and records are kept; `storage/` in the data folder when it is not given."""
    log_level: Literal["debug", "info", "warning", "error"] = "warning"
    max_concurrent_executions: Annotated[int, Field(ge=1, le=1000)] = 12
    config_validator_strict: bool = True
    """Whether an invalid shipped pipeline stops the start, or is only warned about."""
    pipelines: Path | None = None
    """Folder of the shipped pipelines; the repository's own when it is found and none is given."""
    shutdown_grace_seconds: Annotated[float, Field(ge=0, le=3600)] = 10.0
    otel: str = "auto"
    """Where traces go: see `tracing.open_tracing`."""
    max_body_bytes: Annotated[int, Field(ge=1024)] = 4 * 1024 * 1024
    max_init_bytes: Annotated[int, Field(ge=1024)] = 4 * 1024 * 1024
    """Of an execution's init payload: the YAML's with what was laid over it."""
    max_artefact_bytes: Annotated[int, Field(ge=1024)] = 256 * 1024 * 1024
    """Of one artefact; a message whose stage makes a larger one fails."""
    max_metadata_bytes: Annotated[int, Field(ge=1024)] = 64 * 1024
    """Of what a message carries beside its payload, as JSON; one that is given more fails."""
    api_tokens: SecretStr | None = None
    """`name:scope:token,…`; without any, only loopback is listened on."""
    api_tokens_file: Path | None = None
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    """Names and addresses, beside loopback, that clients may call the server by."""
    lease_seconds: Annotated[float, Field(ge=1, le=3600)] = 15.0
    """How long an execution stays a server's that says nothing any more, before another takes it over."""
    work: bool = True
    """Whether the server takes messages itself; with workers beside it, it need not."""
    routes: Annotated[tuple[str, ...], NoDecode] = ()
    """Names of the routes whose messages a worker takes; none: of all."""
    concurrency: Annotated[int, Field(ge=1, le=1_000)] | None = None
    """How many messages of each route a worker handles at a time; none: as each pipeline says."""
    commit_journal: Path | None = None
    """File that a line is appended to for every commit, for whoever checks the store from outside."""

    @classmethod
    def told(cls, given: Mapping[str, Any], from_file: Mapping[str, Any]) -> ServerSettings:
        """Return the settings: what was given, else the environment's, else the file's. Raises
        `ValidationError`."""

        class Told(cls):  # type: ignore[valid-type, misc]  # the class itself, with one source more
            @classmethod
            def settings_customise_sources(
                cls,
                settings_cls: type[BaseSettings],
                init_settings: PydanticBaseSettingsSource,
                env_settings: PydanticBaseSettingsSource,
                **_: PydanticBaseSettingsSource,
            ) -> tuple[PydanticBaseSettingsSource, ...]:
                file = InitSettingsSource(settings_cls, dict(from_file))
                return init_settings, env_settings, file

        settings: ServerSettings = Told(**given)
        return settings

    @property
    def shares_work(self) -> bool:
        """Whether database and queue are such that other processes can have them too."""
        return self.database_url is not None and self.queue_url is not None

    @property
    def shown_database_url(self) -> str | None:
        """The database's URL without what is secret in it."""
        if self.database_url is None:
            return None
        return shown_database_url(self.database_url.get_secret_value())

    @functools.cached_property
    def tokens(self) -> AccessTokens:
        """The access tokens, read once. Raises `TokensInvalidError`."""
        text = None if self.api_tokens is None else self.api_tokens.get_secret_value()
        return AccessTokens.load(text, self.api_tokens_file)

    @property
    def hosts(self) -> frozenset[str]:
        """What clients may call the server by, beside loopback: the address it listens on, unless that
        stands for all, and the hosts allowed."""
        listening = _bare(self.host)
        every = listening in {"", "0.0.0.0", "::"}  # noqa: S104 - compared, not listened on
        return frozenset(map(_bare, self.allowed_hosts)) | (set() if every else {listening})

    @field_validator("database_url")
    @classmethod
    def _check_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or not value.get_secret_value():
            return None
        check_database_url(value.get_secret_value())
        return value

    @field_validator("queue_url")
    @classmethod
    def _check_queue_url(cls, value: SecretStr | None) -> SecretStr | None:
        text = "" if value is None else value.get_secret_value()
        if text in {"", "embedded"}:
            return None
        try:
            broker_kind(text)
        except QueueError as error:
            raise ValueError(f"it has to be `embedded`, or: {error.hint}") from error
        return value

    @field_validator("adapters", "allowed_hosts", "routes", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part for part in value.replace(",", " ").split() if part)
        return value


def hide_secrets() -> None:
    """Take out of the environment what holds secrets, once it was read: what runs in this process, adapters
    of others among it, has no need of it."""
    for name in ("FACTFLOW_API_TOKENS", "FACTFLOW_DATABASE_URL", "FACTFLOW_QUEUE_URL"):
        os.environ.pop(name, None)


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address can only be this machine (`[::1]` in brackets too)."""
    bare = _bare(host)
    if bare in LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(bare).is_loopback
    except ValueError:
        return False


def check_host(host: str, *, with_tokens: bool = False) -> str:
    """Return the host unchanged, or raise `HostRefusedError` unless it is loopback or there are tokens."""
    if not with_tokens and not is_loopback(host):
        raise HostRefusedError(
            f"will not listen on {host!r}: without access tokens only loopback addresses are allowed",
            hint="--host 127.0.0.1, or give tokens: FACTFLOW_API_TOKENS=name:operator:TOKEN",
        )
    return host


def _bare(host: str) -> str:
    return host.removeprefix("[").removesuffix("]").lower()
