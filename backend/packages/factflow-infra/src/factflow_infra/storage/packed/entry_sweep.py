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
    plain = ""
    for name, is_record in entries:
        while held:
            first = next(iter(held))
            if name.startswith(first):
                break
            yield RecordInfo(first, tuple(held.pop(first)))
        if is_record:
            key = name.removesuffix(RECORD_SIGN)
            held[key] = [plain] if plain == key else []
            continue
        plain = name
        beside = held.get(record_key(name))
        if beside is not None:
            beside.append(name)
    for key, objects in held.items():
        yield RecordInfo(key, tuple(objects))
