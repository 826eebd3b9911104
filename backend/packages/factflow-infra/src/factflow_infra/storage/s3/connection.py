"""Opening a bucket: whose clients ask it, and whether it can do what a store rests on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import S3Store

from factflow_infra.storage.address import BucketAddress
from factflow_infra.storage.layout import TEMP_PREFIX
from factflow_infra.storage.s3.endpoint import endpoint_of, shown_endpoint
from factflow_infra.storage.s3.trouble import status_of, storage_error
from factflow_protocols.errors import StorageError

if TYPE_CHECKING:
    from obstore.store import S3Config  # a type that is not there at run time

_Setting = Literal["region", "access_key_id", "secret_access_key", "session_token"]
CONNECT_SECONDS = 3.0
READ_SECONDS = 10.0
"""How long nothing may come from a server that is read from."""
PATIENCE = timedelta(seconds=5)
"""After so long nothing is tried again: whoever called holds, and says so."""
READ_RETRIES = 3
UNLIMITED = timedelta(days=1)
"""Of one request in all: a large object takes its time. Of writes also until an answer comes, which follows
the last byte that was sent: who writes sets a limit by the size."""
SETTINGS: dict[str, _Setting] = {
    "AWS_DEFAULT_REGION": "region",
    "AWS_REGION": "region",
    "AWS_ACCESS_KEY_ID": "access_key_id",
    "AWS_SECRET_ACCESS_KEY": "secret_access_key",
    "AWS_SESSION_TOKEN": "session_token",
}
"""Variables that this module reads, later ones over earlier ones. The library reads the others that it knows
from the process's environment: roles of containers and machines, encryption."""
PROBE = f"{TEMP_PREFIX}create-only"
"""No listing shows it. It stays, so that all later starts need one request to see what they need."""


class ConditionalPutMissingError(StorageError):
    """The server ignores or refuses `If-None-Match`: two writers would replace each other's objects."""

    code = "storage_not_create_only"

    def __init__(self, endpoint: str) -> None:
        super().__init__(
            f"{endpoint} cannot create an object only if there is none (If-None-Match: * on PUT)",
            hint="take a server or a version that does: AWS, MinIO, Ceph, R2 and others do",
        )


@dataclass(frozen=True, slots=True)
class Connection:
    """Two clients of one bucket, and its address. Requests of `reads` are repeated by the library; those
    of `writes` are not, as only who sent one knows what its repetition's answer means."""

    address: BucketAddress
    endpoint: str
    """As people are told."""
    reads: S3Store
    writes: S3Store

    def trouble(self, error: Exception, key: str = "") -> StorageError:
        """Return the error that says what an exception means."""
        return storage_error(error, self.endpoint, self.address.bucket, key)


def connect(address: BucketAddress, environment: Mapping[str, str]) -> Connection:
    """Return clients of a bucket, of which nothing was asked yet.

    Endpoint, region and credentials come from the environment, by the names that AWS's tools know; without
    keys in it, from the roles of the machine. Raises `StorageUriError` for an endpoint that is none.
    """
    endpoint = endpoint_of(environment)
    config: S3Config = {"conditional_put": "etag"}
    if endpoint is not None:
        config["aws_endpoint_url_s3"] = endpoint
    for name, setting in SETTINGS.items():
        if environment.get(name):
            config[setting] = environment[name]

    def client(retries: int, silence: timedelta) -> S3Store:
        return S3Store(
            address.bucket,
            prefix=address.prefix or None,
            config=config,
            client_options={
                "allow_http": endpoint is not None and endpoint.startswith("http:"),
                "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
                "read_timeout": silence,
                "timeout": UNLIMITED,
            },
            retry_config={"max_retries": retries, "retry_timeout": PATIENCE},
        )

    return Connection(
        address,
        shown_endpoint(endpoint),
        client(READ_RETRIES, timedelta(seconds=READ_SECONDS)),
        client(0, UNLIMITED),
    )


def check_bucket(connection: Connection) -> None:
    """See that the bucket is there, can be listed and written, and that its server creates objects only
    where there are none. Waits for the answers, some ten seconds at most.

    Raises `StorageUnavailableError` and `ConditionalPutMissingError`.
    """
    try:
        next(iter(obstore.list(connection.reads, chunk_size=1)), None)
    except (BaseError, OSError) as error:
        raise connection.trouble(error) from error
    for _ in range(2):  # the first one makes it, if need be
        try:
            obstore.put(connection.reads, PROBE, b"", mode="create")
        except AlreadyExistsError:
            return
        except (BaseError, OSError, NotImplementedError) as error:
            if status_of(error) == 501 or isinstance(error, NotImplementedError):
                raise ConditionalPutMissingError(connection.endpoint) from error
            raise connection.trouble(error) from error
    raise ConditionalPutMissingError(connection.endpoint)
