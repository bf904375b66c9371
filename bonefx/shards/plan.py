"""What there is to do: which images make which shard, kept beside the shards.

The plan is made once, while the source is listed, and then only read: two runs, or two machines, have the
same one. Its files' names begin with `_`, which readers of Parquet folders pass over.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from bonefx.errors import RequestError, SourceError, quoted
from bonefx.shards import SHARD_IMAGES
from bonefx.shards.places import Place

ENDING = ".parquet"
_LIST, _HEAD = "_plan.parquet", "_plan.json"
_MOST = 64 * 1024
_SHARD = pa.schema([("name", pa.string()), ("images", pa.list_(pa.binary()))])
_AT_A_TIME = 64
"""Shards of the list that are in memory at once."""


class Shard(NamedTuple):
    """What one file of the target holds: its name, and the names of the images, which need not be text."""

    name: str
    images: list[bytes]


class Plan:
    """The shards of one target.

    Attributes:
        target: where they are written.
        head: `source`, `models` and `threshold`, then `images` and `shards` as numbers.
    """

    def __init__(self, target: Place, head: dict[str, Any]) -> None:
        self.target, self.head = target, head

    @classmethod
    def of(
        cls,
        source: Place,
        target: Place,
        models: Sequence[str],
        threshold: float,
        shard_images: int = SHARD_IMAGES,
        names: Iterable[str] | None = None,
    ) -> Plan:
        """The plan that lies in the target, or a new one with so many images a shard.

        `names` are those of the images, of a new plan; None: all that the source has.

        Raises:
            RequestError: the target holds another plan.
            SourceError: the source cannot be listed, or has no file.
            OSError: the target cannot be written.
        """
        wanted = {"source": source.address, "models": list(models), "threshold": threshold}
        if _HEAD in target.names(".json"):
            head = json.loads(target.read(_HEAD, _MOST))
            if {name: head.get(name) for name in wanted} != wanted:
                raise RequestError(
                    "The target holds the shards of another source, other models or another threshold. "
                    "Choose a new one, or give the same again to go on."
                )
            return cls(target, head)
        images, shards = _write_list(
            source.images(leave_out=target) if names is None else names, target, shard_images
        )
        if not images:
            raise SourceError(f"There is no file that may be an image in {quoted(source.address)}.")
        head = {**wanted, "images": images, "shards": shards}
        target.write(_HEAD, json.dumps(head, indent=1).encode())  # last: without it there is no plan
        return cls(target, head)

    def missing(self) -> Iterator[Shard]:
        """The shards that are not written yet."""
        done = written(self.target)
        with self.target.open(_LIST) as file:
            for batch in pq.ParquetFile(file).iter_batches(_AT_A_TIME):
                for row in batch.to_pylist():
                    if row["name"] not in done:
                        yield Shard(**row)


def written(target: Place) -> set[str]:
    """Names of the shards that are written."""
    return {name for name in target.names(ENDING) if not name.startswith("_")}


def _write_list(images: Iterable[str], target: Place, shard_images: int) -> tuple[int, int]:
    """Write the list while the source is listed; the numbers of images and shards."""
    content, found = io.BytesIO(), map(os.fsencode, images)  # compressed: some megabytes for a million images
    total = shards = 0
    with pq.ParquetWriter(content, _SHARD, compression="zstd") as writer:
        while members := list(islice(iter(lambda: list(islice(found, shard_images)), []), _AT_A_TIME)):
            names = [_name(shards + i, chunk) for i, chunk in enumerate(members)]
            writer.write_table(pa.table([names, members], schema=_SHARD))
            total, shards = total + sum(map(len, members)), shards + len(members)
    target.write(_LIST, content.getvalue())
    return total, shards


def _name(number: int, images: Sequence[bytes]) -> str:
    digest = hashlib.sha256(b"\n".join(images)).hexdigest()
    return f"part-{number:06d}-{digest[:12]}{ENDING}"
