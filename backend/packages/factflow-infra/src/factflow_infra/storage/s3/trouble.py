"""What the S3 library's exceptions mean: trouble of the store, or of one key.

Their own texts have some 1,300 characters, with the whole answer and the URL in them. What is needed of
these is the status, the code in the answer's XML, and the kind of what went wrong before there was one.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from factflow_protocols.errors import KeyRefusedError, StorageError, StorageUnavailableError

_STATUS = re.compile(r"status: (\d{3})")
_CODE = re.compile(r"<Code>(\w+)</Code>")


class _Meaning(NamedTuple):
    """What an answer means that has one of the codes or the statuses."""

    codes: str
    statuses: tuple[int, ...]
    sentence: str
    hint: str


_CREDENTIALS = "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN"
_KEY_TROUBLE = {
    "EntityTooLarge": "it is larger than the server takes",
    "KeyTooLongError": "its name is too long for the server",
}
_ANSWERS = (
    _Meaning(
        "NoSuchBucket",
        (),
        "{endpoint} has no bucket {bucket!r}",
        "make it, or correct --storage-uri or AWS_ENDPOINT_URL",
    ),
    _Meaning(
        "ExpiredToken InvalidAccessKeyId InvalidToken SignatureDoesNotMatch TokenRefreshRequired",
        (401,),
        "{endpoint} does not accept the credentials ({told})",
        _CREDENTIALS,
    ),
    _Meaning(
        "AuthorizationHeaderMalformed IllegalLocationConstraintException PermanentRedirect",
        (301, 307),
        "{endpoint} has the bucket {bucket!r} in another region ({told})",
        "set AWS_REGION to the region of the bucket",
    ),
    _Meaning(
        "",
        (403,),
        "{endpoint} denies access to the bucket {bucket!r} ({told})",
        "allow s3:ListBucket, GetObject, PutObject and DeleteObject on it; or " + _CREDENTIALS,
    ),
)
_NO_ANSWER = (
    # Which words in the library's text tell what, the most telling ones first.
    (
        r"CredentialProvider|latest/api/token|169\.254\.169\.254|metadata service",
        "cannot be asked, as there are no credentials",
        "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    ),
    (
        r"redirect without LOCATION|BareRedirect",
        "has the bucket in another region",
        "set AWS_REGION to the region of the bucket",
    ),
    (r"ConnectionRefused", "refuses connections", "check that it runs, and AWS_ENDPOINT_URL"),
    (r"dns error", "has a host name that nobody knows", "check AWS_ENDPOINT_URL"),
    (
        r"InvalidContentType|[Cc]ertificate|Tls|rustls",
        "does not speak TLS as it should",
        "check its certificate, and whether AWS_ENDPOINT_URL should begin with http:",
    ),
    (r"Timeout|TimedOut", "did not answer in time", "check the network, and the server"),
    (
        r"contained (empty|invalid|.. )|EmptySegment|BadSegment",
        "has an object in the bucket whose name is no key of Factflow's",
        "name a prefix that nothing else writes to",
    ),
    (r"", "broke the connection off", "check the network, and the server"),
)


def status_of(error: Exception) -> int | None:
    """Return the HTTP status of the answer that an exception tells of, None when there was no answer."""
    found = _STATUS.search(str(error))
    return int(found[1]) if found else None


def code_of(error: Exception) -> str:
    """Return S3's code in that answer, '' without one."""
    found = _CODE.search(str(error))
    return found[1] if found else ""


def is_passing(error: Exception) -> bool:
    """Tell whether the same request may well succeed a little later."""
    status = status_of(error)
    return status is None or status in {408, 409, 429} or status >= 500


def is_unanswered(error: Exception) -> bool:
    """Tell whether the request may have been carried out all the same."""
    status = status_of(error)
    return status is None or status >= 500


def storage_error(error: Exception, endpoint: str, bucket: str, key: str) -> StorageError:
    """Return the `StorageError` that says what an exception at `key` means.

    Trouble with the name or size of one object is a `KeyRefusedError`; all else is the store's. The
    text names the endpoint and the bucket, and no more of the request or the answer than S3's code.
    """
    status, code = status_of(error), code_of(error)
    if code in _KEY_TROUBLE:
        return KeyRefusedError(f"cannot store {key!r}: {_KEY_TROUBLE[code]}")
    if status is None:
        sentence, hint = next(
            (sentence, hint) for words, sentence, hint in _NO_ANSWER if re.search(words, str(error))
        )
        return StorageUnavailableError(f"{endpoint} {sentence}", hint=hint)
    for meaning in _ANSWERS:
        if code in meaning.codes.split() or status in meaning.statuses:
            sentence = meaning.sentence.format(
                endpoint=endpoint, bucket=bucket, told=code or status
            )
            return StorageUnavailableError(sentence, hint=meaning.hint)
    return StorageUnavailableError(
        f"{endpoint} answers {f'{status} {code}'.strip()} for the bucket {bucket!r}",
        hint="look at the log of that server, or the status page of who runs it",
    )


def silence(endpoint: str, seconds: float) -> StorageUnavailableError:
    """Return the error of a request that was given up."""
    return StorageUnavailableError(
        f"{endpoint} did not answer within {seconds:.0f} s",
        hint="check the network, and the server",
    )
