"""A server that speaks S3, as a process of its own on loopback: moto, which keeps all in memory.

It does what S3 does, conditional writes too, some hundreds of requests a second. Signatures are checked once
that is demanded.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx2

START_SECONDS = 60.0
_READY = re.compile(r"Running on (http://127\.0\.0\.1:\d+)")

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "tests",
    "AWS_SECRET_ACCESS_KEY": "hush-hush",
    "AWS_REGION": "us-east-1",
}
"""Beside these, a store needs `AWS_ENDPOINT_URL`."""


class S3Server:
    """A server that answers at `url`. Use it as a context manager."""

    def __init__(self) -> None:
        self._said = tempfile.NamedTemporaryFile("w+", suffix=".log")  # noqa: SIM115 - closed by `close`
        self._process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._said,
        )
        self.url = self._wait_until_it_listens()

    def _wait_until_it_listens(self) -> str:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            found = _READY.search(self.said())
            if found:
                return found[1]
            select.select([], [], [], 0.05)
        raise AssertionError(f"the S3 server did not start: {self.said()[-1000:]}")

    def said(self) -> str:
        """Return everything it has said on stderr: a line for each request, too."""
        return Path(self._said.name).read_text(errors="replace")

    def make_bucket(self) -> str:
        """Make a bucket of a new name and return that."""
        bucket = f"bucket-{secrets.token_hex(6)}"
        answer = httpx2.put(f"{self.url}/{bucket}", trust_env=False)
        assert answer.is_success, answer.text
        return bucket

    def demand_signatures(self) -> dict[str, str]:
        """From now on check the signature of every request; return the credentials that are good."""
        user = {"UserName": "tests"}
        self._ask_iam("CreateUser", user)
        answer = self._ask_iam("CreateAccessKey", user)
        policy = {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}],
        }
        self._ask_iam(
            "PutUserPolicy", {**user, "PolicyName": "all", "PolicyDocument": json.dumps(policy)}
        )
        reset = httpx2.post(f"{self.url}/moto-api/reset-auth", content=b"0", trust_env=False)
        assert reset.is_success, reset.text
        found = re.search(r"<AccessKeyId>(.+?)<.*<SecretAccessKey>(.+?)<", answer, re.DOTALL)
        assert found, answer
        return {"AWS_ACCESS_KEY_ID": found[1], "AWS_SECRET_ACCESS_KEY": found[2]}

    def _ask_iam(self, action: str, fields: dict[str, str]) -> str:
        answer = httpx2.post(
            self.url,
            data={"Action": action, "Version": "2010-05-08", **fields},
            headers={
                "Authorization": "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/iam/aws4_request"
            },
            trust_env=False,
        )
        assert answer.is_success, answer.text
        return str(answer.text)

    def environment(self, url: str | None = None) -> dict[str, str]:
        """Return the variables with which a store finds this server, or the one at `url`."""
        return {**CREDENTIALS, "AWS_ENDPOINT_URL": url or self.url}

    def pause(self) -> None:
        """Have it answer nothing, its connections staying open."""
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Have it answer again, what was asked meanwhile too."""
        os.kill(self._process.pid, signal.SIGCONT)

    def close(self) -> None:
        """End it; what it held is gone."""
        self._process.kill()
        self._process.wait()
        self._said.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
