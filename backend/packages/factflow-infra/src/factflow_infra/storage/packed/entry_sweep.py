"""From a pack's entries in order to its records, each with the objects that share it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from factflow_infra.storage.layout import record_key
from factflow_infra.storage.packed.pack_schema import RECORD_SIGN
from factflow_protocols.storage import RecordInfo


def beside_records(entries: Iterable[tuple[str, bool]]) -> Iterator[RecordInfo]:
    """Yield the keys that have a record, in their order.

    Entries are names in order, and whether each is a record's. All names that begin with a key come
    together, and the record before all of them but the key itself: so what is held are only records whose
    keys begin with the first one held.
    """
    held: dict[str, list[str]] = {}
    first = last = plain = ""
    for name, is_record in entries:
        while held and not name.startswith(first):
            yield RecordInfo(first, tuple(held.pop(first)))
            first = next(iter(held), "")
        if is_record:
            last = name.removesuffix(RECORD_SIGN)
            held[last] = [plain] if plain == last else []
            first = first if len(held) > 1 else last
            continue
        plain = name
        beside = held.get(last if _is_beside(name, last) else record_key(name))
        if beside is not None:
            beside.append(name)
    for key, objects in held.items():
        yield RecordInfo(key, tuple(objects))


def _is_beside(name: str, key: str) -> bool:
    """Tell, in the usual case, that a name shares a record's key: it is the key with an extension."""
    return name.startswith(key) and name[len(key) :][:1] == "." and "/" not in name[len(key) :]
