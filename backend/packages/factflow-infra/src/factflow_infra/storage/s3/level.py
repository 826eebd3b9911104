"""One level of the tree of keys in a bucket."""

from __future__ import annotations

from collections.abc import Sequence

from factflow_infra.storage.layout import is_object_name
from factflow_infra.storage.s3.bucket import Bucket
from factflow_protocols.storage import ObjectInfo


async def first_of_level(
    bucket: Bucket, folder: str, *, after: str, limit: int
) -> Sequence[ObjectInfo | str]:
    """Return the first objects and prefixes right below a folder ('' is the top), behind `after`.

    A level of objects alone, as a stage's with all its messages is, is read from `after` on and no further
    than needed. A prefix may have any number of names below it, so once one is met S3 is asked to leave these
    out; it can be asked that for the whole level only.
    """
    start = len(folder) + 1 if folder else 0
    found: list[ObjectInfo | str] = []
    async for chunk in bucket.listing(folder, after=after):
        for info in chunk:
            if "/" in info.key[start:]:
                return await _whole_level(bucket, folder, after, limit)
            if is_object_name(info.key):
                found.append(info)
        if len(found) >= limit:
            break
    return found[:limit]


async def _whole_level(
    bucket: Bucket, folder: str, after: str, limit: int
) -> Sequence[ObjectInfo | str]:
    objects, folders = await bucket.level(folder)
    found: dict[str, ObjectInfo | str] = {
        info.key: info for info in objects if is_object_name(info.key)
    }
    found |= {f"{name}/": f"{name}/" for name in folders}
    return [found[key] for key in sorted(found) if key > after][:limit]
