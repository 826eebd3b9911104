"""Who may ask: bearer tokens with a name and a scope. Only their hashes are kept in memory.

`name:scope:token`, one after the other with commas, blanks or lines between them. `read` may look, `operator`
may change.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal, cast

from factflow_protocols.errors import FactflowError

Scope = Literal["read", "operator"]

_ENTRY = re.compile(r"([A-Za-z0-9._-]{1,64}):(read|operator):([!-+\--~]{16,512})")
_HINT = "name:scope:token; scope read or operator, token 16 to 512 visible ASCII characters but the comma"


class TokensInvalidError(FactflowError):
    """The server's list of tokens cannot be read; which entry is said by its place, never by its text."""

    code: ClassVar[str] = "tokens_invalid"


class ScopeInsufficientError(FactflowError):
    """The token may read, and this changes something."""

    code: ClassVar[str] = "scope_insufficient"

    def __init__(self) -> None:
        super().__init__("this token may only read", hint="ask with a token of the scope operator")


@dataclass(frozen=True, slots=True)
class ApiToken:
    """A token by its name; its text is not kept."""

    name: str
    scope: Scope
    digest: bytes = field(repr=False)

    @property
    def may_change(self) -> bool:
        """Tell whether it may do more than read."""
        return self.scope == "operator"


class AccessTokens:
    """The tokens a server knows; none means that whoever reaches it may do everything."""

    def __init__(self, tokens: Iterable[ApiToken] = ()) -> None:
        self._tokens = tuple(tokens)

    def __bool__(self) -> bool:
        return bool(self._tokens)

    @classmethod
    def load(cls, text: str | None, file: Path | None) -> AccessTokens:
        """Return the tokens of a text and of a file. Raises `TokensInvalidError`."""
        found = _parse(text or "", "FACTFLOW_API_TOKENS")
        if file is not None:
            try:
                content = file.read_text()
            except (OSError, UnicodeDecodeError) as error:
                raise TokensInvalidError(
                    f"the file of tokens {file} cannot be read: {type(error).__name__}",
                    hint="make it readable for the user the server runs as",
                ) from error
            of_file = _parse(content, str(file))
            if not of_file:
                raise TokensInvalidError(f"the file of tokens {file} has none", hint=_HINT)
            found += of_file
        names = [token.name for token in found]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise TokensInvalidError(
                f"more than one token is called {', '.join(twice)}", hint="give each its own name"
            )
        return cls(found)

    def find(self, token: str) -> ApiToken | None:
        """Return the token with this text; takes as long for a wrong one as for a right one."""
        digest = _digest(token)
        found = None
        for known in self._tokens:
            if hmac.compare_digest(known.digest, digest):
                found = known
        return found


def _parse(text: str, where: str) -> list[ApiToken]:
    found = []
    for place, entry in enumerate(re.split(r"[,\s]+", text.strip(", \n\t\r")), start=1):
        if not entry:
            continue
        match = _ENTRY.fullmatch(entry)
        if match is None:
            raise TokensInvalidError(f"entry {place} of {where} is no access token", hint=_HINT)
        found.append(ApiToken(match[1], cast("Scope", match[2]), _digest(match[3])))
    return found


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
