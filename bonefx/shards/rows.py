"""A result of the API as a row of a Parquet file, and back."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

_WEIGHTS = pa.struct([(name, pa.string()) for name in ("source", "repo", "revision", "file", "sha256")])
_RUNTIME = pa.struct([(name, pa.string()) for name in ("engine", "precision", "device")])
_BOX = pa.struct([(name, pa.float64()) for name in ("x1", "y1", "x2", "y2")])
_DETECTION = pa.struct(
    [
        ("label", pa.string()),
        ("model_label", pa.string()),
        ("class_id", pa.int64()),
        ("score", pa.float64()),
        ("box", _BOX),
    ]
)
_MEMBER = pa.struct(
    [
        ("model", pa.string()),
        ("weights", _WEIGHTS),
        ("nms", pa.string()),
        ("image_size", pa.int64()),
        ("runtime", _RUNTIME),
    ]
)
SCHEMA = pa.schema(
    [
        ("schema_version", pa.int64()),
        ("image", pa.string()),
        ("width", pa.int64()),
        ("height", pa.int64()),
        ("model", pa.string()),
        ("weights", _WEIGHTS),
        ("members", pa.list_(_MEMBER)),
        ("runtime", _RUNTIME),
        ("threshold", pa.float64()),
        ("timings_ms", pa.map_(pa.string(), pa.float64())),
        ("notes", pa.list_(pa.string())),
        ("notice", pa.string()),
        ("detections", pa.list_(_DETECTION)),
        ("error", pa.string()),
    ]
)
"""One row an image and model; the columns are the fields of the API's result, null where it has none."""

_ONLY_WHERE_THERE_IS_ONE = ("members", "detections", "error")


def as_text(name: str) -> str:
    """A file's name as a row has it: bytes that are no text, as old archives have them, become `\\xff`."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def to_parquet(results: Sequence[Mapping[str, Any]]) -> bytes:
    """The results (`Outcome.to_result`) of one shard as a Parquet file.

    Raises:
        pyarrow.ArrowInvalid: a result has another shape than `SCHEMA`.
    """
    rows = [
        {**result, "image": as_text(result["image"]), "timings_ms": list(result["timings_ms"].items())}
        for result in results
    ]
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), file, compression="zstd")
    return file.getvalue()


def to_results(table: pa.Table) -> list[dict[str, Any]]:
    """The results that were written, as the API gives them."""
    results = []
    for row in table.to_pylist():
        row["timings_ms"] = dict(row["timings_ms"])
        results.append(
            {name: row[name] for name in row if name not in _ONLY_WHERE_THERE_IS_ONE or row[name] is not None}
        )
    return results
