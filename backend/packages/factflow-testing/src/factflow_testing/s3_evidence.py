"""What a judge may look at when a server keeps its objects in a bucket, without any code of the server."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from urllib.parse import quote
from xml.etree import ElementTree as ET

import httpx2

from factflow_selftest.evidence import STORAGE_VARIABLE, Evidence
from factflow_selftest.stored_objects import UNFINISHED, Mark
from factflow_testing.s3_proxy import S3Proxy
from factflow_testing.s3_server import S3Server
from factflow_testing.server_process import wait_until

PREFIX = "kept/here"
_SIGNED = {
    "Authorization": "AWS4-HMAC-SHA256 Credential=tests/20260101/us-east-1/s3/aws4_request, "
    "SignedHeaders=host, Signature=none"
}
"""The server asks for a signature and does not check it."""
_NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"


class BucketObjects:
    """All that lies in a bucket below `PREFIX`."""

    def __init__(self, url: str) -> None:
        self._client = httpx2.Client(base_url=url, headers=_SIGNED, trust_env=False)

    def names(self) -> Iterator[tuple[str, Mark]]:
        """Yield the names, page by page."""
        query = {"list-type": "2", "prefix": f"{PREFIX}/"}
        while True:
            page = ET.fromstring(self._client.get("", params=query).content)
            for found in page.iter(f"{_NAMESPACE}Contents"):
                key, etag, modified, size = (
                    found.findtext(_NAMESPACE + field) or ""
                    for field in ("Key", "ETag", "LastModified", "Size")
                )
                if not key.rpartition("/")[2].startswith(UNFINISHED):
                    moment = datetime.fromisoformat(modified).timestamp()
                    mark = Mark(int(etag.strip('"'), 16), moment, int(size))
                    yield key.removeprefix(f"{PREFIX}/"), mark
            more = page.findtext(f"{_NAMESPACE}NextContinuationToken")
            if not more:
                return
            query["continuation-token"] = more

    def read(self, name: str) -> bytes:
        """Return an object or a record. Raises KeyError without one."""
        answer = self._client.get(quote(f"/{PREFIX}/{name}"))
        if answer.status_code == 404:
            raise KeyError(name)
        return answer.raise_for_status().content

    def close(self) -> None:
        """Let go of the server."""
        self._client.close()


class BucketEvidence(Evidence):
    """Evidence of servers that ask a bucket through a proxy."""

    def __init__(self, folder: Path, server: S3Server, proxy: S3Proxy) -> None:
        bucket = server.make_bucket()
        self._proxy = proxy
        self._variables = server.environment(proxy.url)
        self._variables[STORAGE_VARIABLE] = f"s3://{bucket}/{PREFIX}"
        self.objects = BucketObjects(f"{server.url}/{bucket}")
        super().__init__(folder, objects=self.objects)

    @property
    def variables(self) -> dict[str, str]:
        """Return what a server's environment must hold to find the bucket."""
        return super().variables | self._variables

    def note_kill(self) -> None:
        """Write down what stands, once all that the dead process had sent has been carried out."""
        wait_until("the last requests to end", lambda: self._proxy.connections == 0)
        super().note_kill()
