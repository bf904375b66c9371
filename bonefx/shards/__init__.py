"""Many images to Parquet: a plan of shards, a worker that makes one, and a run that makes all that lack.

A shard is the rows of `SHARD_IMAGES` images, written whole or not at all, under a name that the plan gives
it. So a run that was stopped, wherever and however often, goes on with the shards that are not there yet. Ray
Data, where it is asked for, hands shards to workers, restarts them and replaces lost ones; nothing here does.

Needs the extra `ray` (Ray, pyarrow; fsspec is there already).
"""

import importlib.util

from bonefx.errors import RequestError

SHARD_IMAGES = 64
"""Images a shard: some minutes of work, which is what a lost worker costs."""


def check_installed() -> None:
    """Raise RequestError where the extra is missing."""
    if any(importlib.util.find_spec(name) is None for name in ("ray", "pyarrow")):
        raise RequestError(
            'Archives need Ray and pyarrow, which are not installed: pip install "bonefx[ray]", '
            'or in a checkout: pip install -e ".[ray]".'
        )
