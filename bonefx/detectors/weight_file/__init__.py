"""A PyTorch checkpoint read as data: bounded, checked, and without code from the file.

`torch.load` refuses a file for what lies beside the weights, and believes the sizes that a file claims.
"""

from __future__ import annotations

import io
import math
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from bonefx.detectors.weight_file import pickled
from bonefx.detectors.weight_file.pickled import Record, Storage, TensorClaim
from bonefx.errors import BoneFXError, WeightsError, quoted
from bonefx.files import open_regular
from bonefx.sources.hub import MAX_WEIGHTS_BYTES

MAX_NUMBERS = 500_000_000  # in the tensors of a network; the largest YOLO26 has 60 million
_MAX_DIRECTORY = 2 * 2**20  # bytes of a ZIP file's table of contents

_NUMBERS = {
    "torch.FloatStorage": torch.float32,
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.DoubleStorage": torch.float64,
}
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # first value of a file of torch before 1.6
_LEGACY_SIZES = {  # bytes of a number, of all that may lie in such a file
    **{f"torch.{kind}Storage": 1 for kind in ("Byte", "Char", "Bool", "QInt8", "QUInt8")},
    **{f"torch.{kind}Storage": 2 for kind in ("Half", "BFloat16", "Short")},
    **{f"torch.{kind}Storage": 4 for kind in ("Float", "Int", "QInt32")},
    **{f"torch.{kind}Storage": 8 for kind in ("Double", "Long", "ComplexFloat")},
    "torch.ComplexDoubleStorage": 16,
}


@dataclass(frozen=True)
class WeightFile:
    """What a file holds.

    Attributes:
        content: tables, lists, numbers and texts as they are; tensors as `TensorClaim`, all else as `Record`.
    """

    path: Path
    content: Any
    _places: Mapping[str, tuple[int, int]]  # of each storage: first byte, number of bytes

    @classmethod
    def read(cls, path: Path) -> WeightFile:
        """Read a file that `torch.save` wrote, of any version.

        Raises:
            WeightsError: it is none, or breaks a limit of this module.
        """
        try:
            with _open(path) as file:
                reader = _read_zip if file.read(4) == b"PK\3\4" else _read_legacy
                file.seek(0)
                return cls(path, *reader(file))
        except BoneFXError:
            raise
        except Exception as error:  # a damaged or hostile file fails in many ways, all of them meaning this
            raise WeightsError(f"{path.name} is damaged or is not a PyTorch checkpoint") from error

    def tensors(self, table: Mapping[str, Any]) -> dict[str, Tensor]:
        """The float32 tensors of a table of claims, by the same names.

        Raises:
            WeightsError: one is no dense tensor of real numbers, has no data, claims more than the file
                holds, or holds numbers that no network works with.
        """
        for name, claim in table.items():
            if problem := _problem(claim):
                raise WeightsError(f"{quoted(name)} {problem}")
        if sum(math.prod(claim.shape) for claim in table.values()) > MAX_NUMBERS:
            raise WeightsError(f"{self.path.name} holds more numbers than any network that is run here")
        read: dict[Storage, Tensor] = {}
        found = {}
        with _open(self.path) as file:
            for name, claim in table.items():
                if claim.storage not in read:
                    read[claim.storage] = self._numbers(file, claim.storage)
                found[name] = _checked(name, read[claim.storage], claim)
        return found

    def _numbers(self, file: BinaryIO, storage: Storage) -> Tensor:
        dtype = _NUMBERS[storage.kind]
        start, length = self._places.get(storage.key, (0, -1))
        if length != storage.numbers * dtype.itemsize:
            raise WeightsError(f"{self.path.name} is damaged: a tensor's data is not all there")
        data = torch.empty(length, dtype=torch.uint8)
        file.seek(start)
        if file.readinto(data.numpy()) != length:  # type: ignore[attr-defined]  # files of bytes have it
            raise WeightsError(f"{self.path.name} is damaged: it ends too early")
        return data.view(dtype)


def plain_names(table: Mapping[Any, Any]) -> dict[str, Any]:
    """A state dict by the network's own names, without what says nothing about inference.

    Wrappers put their own name before every one of a network's; batch normalisation counts its batches.

    Raises:
        WeightsError: a name is no text.
    """
    if not all(isinstance(name, str) for name in table):
        raise WeightsError("the checkpoint names a tensor with something else than a text")
    names = dict(table)
    for wrapper in ("_orig_mod.", "module.", "_orig_mod."):  # compiled, on several GPUs, or both
        if names and all(name.startswith(wrapper) for name in names):
            names = {name.removeprefix(wrapper): value for name, value in names.items()}
    return {name: value for name, value in names.items() if not name.endswith(".num_batches_tracked")}


def load_state(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Strict loading; the network shares the tensors of `state`.

    Raises:
        WeightsError: names the tensors that are missing, unknown or of another shape.
    """
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    problems = [f"{name} is missing" for name in expected if name not in state]
    problems += [f"{quoted(name)} is unknown" for name in state if name not in expected]
    problems += [
        f"{name} has the shape {tuple(state[name].shape)} instead of {shape}"
        for name, shape in expected.items()
        if name in state and tuple(state[name].shape) != shape
    ]
    if problems:
        more = f", and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise WeightsError(f"the checkpoint does not fit the network: {'; '.join(problems[:5])}{more}")
    network.load_state_dict(dict(state), assign=True)


def _open(path: Path) -> BinaryIO:
    try:
        return open_regular(path, MAX_WEIGHTS_BYTES)
    except BoneFXError as error:
        raise WeightsError(str(error).rstrip(".")) from error


def _problem(claim: Any) -> str | None:
    """Why a value of a table is no tensor that can be used; None if it may be one."""
    if not isinstance(claim, TensorClaim):
        kind = claim.kind if isinstance(claim, Record) else type(claim).__name__
        return f"is no dense tensor with data ({quoted(kind)})"
    if claim.storage.kind not in _NUMBERS:
        return f"holds no real numbers ({quoted(claim.storage.kind)})"
    if len(claim.shape) > 8 or min(claim.shape, default=1) < 1:
        return f"has the shape {claim.shape[:9]}: it holds no number"
    if len(claim.stride) != len(claim.shape) or min((claim.offset, *claim.stride)) < 0:
        return "is laid out in no possible way"
    last = claim.offset + sum((n - 1) * step for n, step in zip(claim.shape, claim.stride, strict=True))
    if last >= claim.storage.numbers or math.prod(claim.shape) > claim.storage.numbers:
        return "claims more numbers than the file holds"
    return None


def _checked(name: str, numbers: Tensor, claim: TensorClaim) -> Tensor:
    value = numbers.as_strided(claim.shape, claim.stride, claim.offset).float()
    # One number tells of most tensors that all are finite, and takes a tenth of the time.
    if not torch.isfinite(value.sum()) and not torch.isfinite(value).all():
        raise WeightsError(f"{quoted(name)} holds numbers that are not finite")
    if name.endswith("running_var") and (value < 0).any():
        raise WeightsError(f"{quoted(name)} holds negative variances")
    return value


class _SmallReads:
    """A ZIP file's table of contents is read at once, in the size that the file itself claims."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        return self._file.read(_MAX_DIRECTORY if size < 0 else min(size, _MAX_DIRECTORY))


def _read_zip(file: BinaryIO) -> tuple[Any, dict[str, tuple[int, int]]]:
    """Content and places of a file of torch 1.6 or later: a ZIP file of members that are not compressed."""
    with zipfile.ZipFile(_SmallReads(file)) as archive:
        members = archive.infolist()
    size = file.seek(0, io.SEEK_END)
    if sum(member.file_size for member in members) > size:
        raise WeightsError("its members claim more bytes than the file has")
    # torch.save compresses nothing; what is compressed is beside what is read, or was made to swell.
    stored = [m for m in members if m.compress_type == zipfile.ZIP_STORED and not m.flag_bits & 1]
    places = {member.filename: _place(file, member, size) for member in stored}
    pickles = [name for name in places if name.count("/") == 1 and name.endswith("/data.pkl")]
    (root,) = (name.removesuffix("data.pkl") for name in pickles)
    if _bytes(file, places.get(f"{root}byteorder", (0, 0))) not in (b"", b"little"):
        raise WeightsError("its numbers have their highest byte first")
    content, storages = pickled.load(io.BytesIO(_bytes(file, places[f"{root}data.pkl"])))
    return content, {key: places[f"{root}data/{key}"] for key in storages if f"{root}data/{key}" in places}


def _place(file: BinaryIO, member: zipfile.ZipInfo, size: int) -> tuple[int, int]:
    file.seek(member.header_offset)
    *_, name, extra = struct.unpack("<4s22x2H", file.read(30))
    start = member.header_offset + 30 + name + extra
    if start + member.file_size > size:
        raise ValueError("a member beyond the end of the file")
    return start, member.file_size


def _bytes(file: BinaryIO, place: tuple[int, int]) -> bytes:
    start, length = place
    if length > pickled.MAX_BYTES:
        raise ValueError("too long a pickle")
    file.seek(start)
    return file.read(length)


def _read_legacy(file: BinaryIO) -> tuple[Any, dict[str, tuple[int, int]]]:
    """Content and places of an older file: pickles, then each storage behind its own length."""
    (magic, _), _, (system, _), (content, storages), (keys, _) = (pickled.load(file) for _ in range(5))
    if magic != _LEGACY_MAGIC or system.get("little_endian") is not True:
        raise ValueError("no such file")
    places = {}
    for key in keys:
        (numbers,) = struct.unpack("<q", file.read(8))
        length = numbers * _LEGACY_SIZES[storages[key].kind]
        places[key] = file.tell(), length
        if numbers < 0:
            raise ValueError("a negative length")
        file.seek(length, io.SEEK_CUR)
    return content, places
