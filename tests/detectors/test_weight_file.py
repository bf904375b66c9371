"""Weight files as data: what others save loads, what they make up is refused, and nothing is run."""

from __future__ import annotations

import io
import os
import pickle
import pickletools
import random
import struct
import tracemalloc
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from bonefx.detectors import weight_file
from bonefx.detectors.weight_file import WeightFile, pickled, plain_names
from bonefx.errors import WeightsError

TENSORS = {
    "weight": torch.arange(24.0).reshape(2, 3, 4),
    "half": torch.ones(5, dtype=torch.float16),
    "brain": torch.full((2, 2), -3.0, dtype=torch.bfloat16),
    "double": torch.tensor([0.5], dtype=torch.float64),
    "scalar": torch.tensor(2.0),
    "turned": torch.arange(6.0).reshape(2, 3).t(),
    "slice": torch.arange(10.0)[3:7],
    "parameter": torch.nn.Parameter(torch.zeros(2)),
}


def tensors(path: Path) -> dict[str, torch.Tensor]:
    file = WeightFile.read(path)
    table = file.content.get("model") if isinstance(file.content, dict) else None
    if not isinstance(table, dict):
        raise WeightsError("no table")
    return file.tensors(plain_names(table))


class Marked(torch.nn.Module):
    """A class of a third party: to be read past, not made."""

    def __setstate__(self, state):
        raise AssertionError("made")


@pytest.mark.parametrize(
    "save",
    [
        {},  # as torch does it today
        {"_use_new_zipfile_serialization": False},  # before 1.6
        {"pickle_protocol": 4},
        {"pickle_protocol": 5},
    ],
)
@pytest.mark.parametrize(
    "beside",
    [
        {},
        {"iteration": np.int64(5), "best": np.float64(0.5), "array": np.arange(3)},  # NumPy
        {"module": Marked(), "path": Path("runs"), "set": {1, 2}, "frozen": frozenset("ab")},  # of any class
        {"random": torch.get_rng_state(), "sparse": torch.eye(2).to_sparse()},
        {"optimizer": {"state": {0: {"momentum": torch.zeros(3)}}, "long": 2**100}},
    ],
)
def test_what_third_parties_save_is_read_to_the_bit(tmp_path, save, beside):
    torch.save({"model": OrderedDict(TENSORS), **beside}, tmp_path / "a.pth", **save)
    found = tensors(tmp_path / "a.pth")
    assert found.keys() == TENSORS.keys()
    for name, value in TENSORS.items():
        assert found[name].dtype == torch.float32
        assert torch.equal(found[name], value.float())


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["module.a", "module.b"], ["a", "b"]),  # DataParallel
        (["_orig_mod.a"], ["a"]),  # torch.compile
        (["module._orig_mod.a"], ["a"]),
        (["_orig_mod.module.a"], ["a"]),
        (["module.a", "b"], ["module.a", "b"]),  # a part of the network that is called so
        (["a.norm.num_batches_tracked", "a.norm.weight"], ["a.norm.weight"]),
        ([], []),
    ],
)
def test_names_that_wrappers_and_counters_leave(names, expected):
    assert list(plain_names(dict.fromkeys(names))) == expected


@pytest.mark.parametrize("name", [5, 2**200, ("a",), None, Marked()])
def test_a_name_that_is_no_text_is_refused(tmp_path, name):
    torch.save({"model": {"a": torch.ones(1), name: torch.ones(1)}}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="something else than a text"):
        tensors(tmp_path / "a.pth")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (torch.tensor([1.0, float("nan")]), "not finite"),
        (torch.tensor([1.0, float("inf")]), "not finite"),
        (torch.tensor([float("inf"), float("-inf")]), "not finite"),
        (torch.tensor([float("nan")], dtype=torch.float16), "not finite"),
        (torch.tensor([1e300], dtype=torch.float64), "not finite"),  # beyond float32
        (torch.zeros(2, dtype=torch.complex64), "no real numbers"),
        (torch.zeros(2, dtype=torch.int64), "no real numbers"),
        (torch.zeros(2, dtype=torch.bool), "no real numbers"),
        (torch.eye(3).to_sparse(), "no dense tensor"),
        (torch.eye(3).to_sparse_csr(), "no dense tensor"),
        (torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8), "no dense tensor"),
        (torch.empty(2, device="meta"), "no dense tensor"),
        (torch.empty(0), "holds no number"),
        (torch.empty(3, 0), "holds no number"),
        (torch.ones(1).expand(1000), "claims more numbers"),
        (5, "no dense tensor"),
        (None, "no dense tensor"),
        ([torch.ones(1)], "no dense tensor"),
        (Marked(), "no dense tensor"),
    ],
)
def test_what_no_network_works_with_is_refused_by_name(tmp_path, value, words):
    torch.save({"model": {"sound": torch.ones(1), "the.weight": value}}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=rf"the\.weight.*{words}"):
        tensors(tmp_path / "a.pth")


def test_large_finite_numbers_are_finite(tmp_path):
    """Their sum is not."""
    torch.save({"model": {"a": torch.full((4,), 3e38)}}, tmp_path / "a.pth")
    assert tensors(tmp_path / "a.pth")["a"].shape == (4,)


def test_negative_variances_are_refused(tmp_path):
    torch.save({"model": {"norm.running_var": torch.tensor([1.0, -1.0])}}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="negative variances"):
        tensors(tmp_path / "a.pth")


def test_one_storage_in_many_tensors_is_read_once(tmp_path):
    whole = torch.arange(1000.0)
    torch.save({"model": {f"part{i}": whole[i : i + 10] for i in range(900)}}, tmp_path / "a.pth")
    assert torch.equal(tensors(tmp_path / "a.pth")["part5"], whole[5:15])


def test_one_storage_in_many_large_tensors_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(weight_file, "MAX_NUMBERS", 50_000)
    whole = torch.zeros(1000)
    torch.save({"model": {f"same{i}": whole for i in range(100)}}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="more numbers than any network"):
        tensors(tmp_path / "a.pth")


# Files that were made to do harm


class Call:
    """A pickle that calls something."""

    def __init__(self, function: Callable, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self):
        return self.call


class Claim:
    """A tensor whose storage and layout are made up."""

    def __init__(self, numbers: int = 2, offset: int = 0, shape=(2,), stride=(1,), key: str = "0") -> None:
        self.arguments = (numbers, offset, shape, stride, key)


class _Pickler(pickle.Pickler):
    def persistent_id(self, value):
        return value.reference if isinstance(value, Reference) else None

    def reducer_override(self, value):
        if isinstance(value, Claim):
            numbers, offset, shape, stride, key = value.arguments
            storage = Reference(("storage", torch.FloatStorage, key, "cpu", numbers))
            return torch._utils._rebuild_tensor_v2, (storage, offset, shape, stride, False, OrderedDict())
        return NotImplemented


class Reference:
    def __init__(self, reference) -> None:
        self.reference = reference


def made_up(path: Path, value: object, **members: bytes) -> Path:
    """A file in torch's layout with a pickle of `value`, and two float32 numbers as its data."""
    buffer = io.BytesIO()
    _Pickler(buffer, 2).dump(value)
    return archive(path, buffer.getvalue(), **members)


def archive(path: Path, pickle: bytes, compression: int = zipfile.ZIP_STORED, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("a/data.pkl", pickle)
        file.writestr("a/version", b"3")
        file.writestr("a/byteorder", members.pop("byteorder", b"little"))
        file.writestr("a/data/0", b"\0\0\x80?" * 2)
        for name, content in members.items():
            file.writestr(f"a/{name}", content)
    return path


def test_the_layout_that_these_tests_make_up_is_torchs_own(tmp_path):
    path = made_up(tmp_path / "a.pth", {"model": {"a": Claim()}})
    assert torch.equal(tensors(path)["a"], torch.ones(2))
    assert torch.equal(torch.load(path, weights_only=True)["model"]["a"], torch.ones(2))


@pytest.mark.parametrize(
    ("claim", "words"),
    [
        (Claim(numbers=10**12, shape=(10**12,)), "more numbers than any network"),
        (Claim(numbers=10**6, shape=(10**6,)), "data is not all there"),
        (Claim(shape=(10**12,)), "claims more numbers"),
        (Claim(shape=(10**6, 10**6), stride=(0, 0)), "claims more numbers"),
        (Claim(shape=(10**30,)), "claims more numbers"),
        (Claim(offset=2), "claims more numbers"),
        (Claim(offset=-1), "no possible way"),
        (Claim(stride=(-1,)), "no possible way"),
        (Claim(stride=(1, 1)), "no possible way"),
        (Claim(shape=(-2,)), "holds no number"),
        (Claim(shape=(1,) * 9, stride=(1,) * 9), "holds no number"),
        (Claim(key="1"), "data is not all there"),
        (Claim(key="../../etc/passwd"), "data is not all there"),
        (Claim(shape=("2",)), "damaged"),
        (Claim(shape=[2]), "damaged"),
        (Claim(offset=0.0), "damaged"),
        (Claim(numbers="2"), "damaged"),
        (Claim(key=5), "damaged"),
    ],
)
def test_a_tensor_that_claims_what_the_file_does_not_hold(tmp_path, claim, words):
    path = made_up(tmp_path / "a.pth", {"model": {"a": claim}})
    tracemalloc.start()
    with pytest.raises(WeightsError, match=words):
        tensors(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50e6


@pytest.mark.parametrize(
    "call",
    [
        Call(os.system, "touch ran"),
        Call(eval, "open('ran', 'w')"),
        Call(open, "ran", "w"),
        Call(os.mkdir, "ran"),
        Call(getattr, "os", "system"),
        Call(torch.load, "elsewhere"),
        Call(torch.hub.load_state_dict_from_url, "http://127.0.0.1:9/a.pth"),
        Call(bytearray, 10**12),
        Call(torch.zeros, 10**12),
    ],
)
@pytest.mark.parametrize("place", ["beside", "model", "inside"])
def test_nothing_that_a_file_calls_is_run(tmp_path, monkeypatch, call, place):
    monkeypatch.chdir(tmp_path)
    value = {
        "beside": {"model": {"a": torch.ones(1)}, "other": call},
        "model": {"model": call},
        "inside": {"model": {"a": call}},
    }[place]
    torch.save(value, "a.pth")
    before = set(os.listdir())
    if place == "beside":
        assert tensors(Path("a.pth"))["a"].item() == 1
    else:
        with pytest.raises(WeightsError):
            tensors(Path("a.pth"))
    assert set(os.listdir()) == before


def by_hand(*steps: bytes) -> bytes:
    return b"\x80\x02" + b"".join(steps) + b"."


ONE_KEY = pickle.BININT1 + b"\1" + pickle.TUPLE1
NONE_ITEM = pickle.NONE + pickle.SETITEM
ONE_TUPLE = ONE_KEY + NONE_ITEM
NESTED = pickle.EMPTY_TUPLE + pickle.TUPLE1 * 200_000


@pytest.mark.parametrize(
    "program",
    [
        b"",
        b"no pickle",
        b"\x80\x02",  # stops before its end
        by_hand(pickle.NONE, pickle.LONG_BINPUT, struct.pack("<I", 2**31 - 1)),  # 32 GB of memo
        by_hand(pickle.EMPTY_DICT, NESTED, pickle.NONE, pickle.SETITEM),  # hashing it ends the process
        by_hand(pickle.BINUNICODE8, struct.pack("<Q", 2**60), b"a"),
        by_hand(pickle.BYTEARRAY8, struct.pack("<Q", 2**40), b"a"),
        by_hand(pickle.GET, b"5\n"),
        by_hand(pickle.BINGET, b"\5"),
        by_hand(pickle.REDUCE),  # of an empty stack
        by_hand(pickle.TUPLE),  # without a mark
        by_hand(pickle.NONE, pickle.EMPTY_TUPLE, pickle.REDUCE),  # calls None
        by_hand(pickle.EXT1, b"\1"),  # what the process registered
        by_hand(pickle.INST, b"os\nsystem\n"),
        by_hand(pickle.INT, b"9" * 5000, b"\n"),
        by_hand(pickle.NEXT_BUFFER),
        by_hand(pickle.PERSID, b"elsewhere\n"),
        by_hand(pickle.EMPTY_TUPLE, pickle.BINPERSID),  # a reference to nothing
        by_hand(
            pickle.EMPTY_DICT, (pickle.LONG1 + b"\x10" + b"\1" * 16 + pickle.NONE + pickle.SETITEM) * 2000
        ),
        by_hand(pickle.EMPTY_DICT, ONE_TUPLE * 2000),  # tuples can be made to share a hash, too
        by_hand(pickle.EMPTY_DICT, pickle.MARK, (ONE_KEY + pickle.NONE) * 2000, pickle.SETITEMS),
        by_hand(pickle.EMPTY_SET, pickle.MARK, ONE_KEY * 2000, pickle.ADDITEMS),
        by_hand(*(b"ca\n%d\n" % number for number in range(2000))),  # a class takes a kilobyte
        by_hand(pickle.NONE * (pickled.MAX_STEPS + 1)),
    ],
    ids=range(24),
)
@pytest.mark.slow
def test_a_pickle_made_by_hand_is_refused(tmp_path, program):
    path = archive(tmp_path / "a.pth", program)
    with pytest.raises(WeightsError, match="damaged or is not a PyTorch checkpoint"):
        WeightFile.read(path)


def test_the_list_of_known_steps_is_made_of_steps():
    assert {opcode.name for opcode in pickletools.opcodes} >= pickled._STEPS


def test_a_deep_structure_of_lists_and_tables_does_no_harm(tmp_path):
    steps = (pickle.EMPTY_LIST * 100_000, pickle.APPEND * 99_999)
    assert isinstance(WeightFile.read(archive(tmp_path / "a.pth", by_hand(*steps))).content, list)


# The file around the pickle


def bomb(path: Path) -> None:
    archive(path, pickle.dumps({}), zipfile.ZIP_DEFLATED, **{"data/1": bytes(50_000_000)})


def overlapping(path: Path) -> None:
    """A hundred members that are one and the same bytes."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a/data.pkl", pickle.dumps({}, 2))
        file.writestr("a/data/0", bytes(1000))
        first = file.infolist()[1]
        for number in range(100):
            other = zipfile.ZipInfo(f"a/data/{number + 1}")
            other.file_size = other.compress_size = 1000
            other.header_offset, other.CRC = first.header_offset, first.CRC
            file.filelist.append(other)


def long_directory(path: Path) -> None:
    """A table of contents that claims 4 GB."""
    archive(path, pickle.dumps({}, 2))
    content = bytearray(path.read_bytes())
    end = content.rindex(b"PK\5\6")
    struct.pack_into("<I", content, end + 12, 2**32 - 2)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (bomb, "claim more bytes than the file has"),
        (overlapping, "claim more bytes than the file has"),
        (long_directory, "damaged"),
        (lambda path: archive(path, pickle.dumps({}, 2), byteorder=b"big"), "highest byte first"),
        (lambda path: zipfile.ZipFile(path, "w").close(), "damaged"),
        (lambda path: path.write_bytes(b""), "damaged"),
        (lambda path: path.write_bytes(b"<html>404</html>"), "damaged"),
        (lambda path: path.write_bytes(b"PK\3\4" + bytes(100)), "damaged"),
        (lambda path: path.write_bytes(random.Random(0).randbytes(10_000)), "damaged"),
        (lambda path: torch.jit.script(torch.nn.ReLU()).save(path), "no table"),
        (os.mkfifo, "no regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "no regular file"),
        (lambda path: path.symlink_to(path.name), "cannot be read"),
        (Path.mkdir, "no regular file"),
        (lambda path: None, "cannot be read: No such file"),
        (lambda path: path.touch() or os.truncate(path, 3 * 10**9), "too large: at most 2,000 MB"),
    ],
)
def test_what_is_no_weight_file_is_refused_at_once(tmp_path, make, words):
    path = tmp_path / "a.pth"
    make(path)
    with pytest.raises(WeightsError, match=words):
        tensors(path)


def test_every_place_to_cut_a_file_off_is_noticed(tmp_path):
    path = tmp_path / "a.pth"
    for save in ({}, {"_use_new_zipfile_serialization": False}):
        torch.save({"model": TENSORS}, path, **save)
        whole = path.read_bytes()
        for length in range(0, len(whole), 37):
            path.write_bytes(whole[:length])
            with pytest.raises(WeightsError):
                tensors(path)


def test_damage_anywhere_is_refused_or_harmless(tmp_path):
    path = tmp_path / "a.pth"
    torch.save({"model": TENSORS}, path)
    whole = path.read_bytes()
    random = np.random.default_rng(1)
    for place in random.integers(0, len(whole), 300):
        damaged = bytearray(whole)
        damaged[place] ^= int(random.integers(1, 256))
        path.write_bytes(damaged)
        try:
            found = tensors(path)
        except WeightsError:
            continue
        assert all(torch.isfinite(value).all() for value in found.values())
