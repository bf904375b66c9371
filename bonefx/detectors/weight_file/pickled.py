"""A pickle read as data: whatever it calls, nothing is run.

A pickle is a program that may call any function. Here every call makes a `Record`, and only tables, lists,
numbers, texts and claims of tensors mean anything. So what others keep beside their weights (NumPy scalars,
settings objects, an optimiser) is read past without knowing what it is.

Before the program runs it is checked step by step, since Python's own reader trusts sizes: a memo index of
2^31 alone takes 32 GB, and a tuple nested a million deep ends the process when it is hashed.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

MAX_BYTES = 64 * 2**20
MAX_STEPS = 2_000_000  # a YOLO26x with its optimiser has about 600,000
MAX_NESTING = 100  # of tuples
MAX_KINDS = 1000  # classes and functions that are named
MAX_ODD_KEYS = 1000  # of sets and tables: numbers of more than 64 bits and tuples can all share one hash

# What pickles of protocol 2 to 5 are made of; not the older steps in text, nor those that refer to elsewhere.
_STEPS = frozenset(
    (
        *("PROTO", "FRAME", "STOP", "MARK", "POP", "POP_MARK", "NONE", "NEWTRUE", "NEWFALSE"),
        *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
        *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINSTRING", "SHORT_BINSTRING"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
        *("EMPTY_LIST", "LIST", "APPEND", "APPENDS", "EMPTY_DICT", "DICT", "SETITEM", "SETITEMS"),
        *("EMPTY_SET", "ADDITEMS", "FROZENSET", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
        *("BINGET", "LONG_BINGET", "BINPUT", "LONG_BINPUT", "MEMOIZE"),
        *("GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD", "NEWOBJ", "NEWOBJ_EX", "BINPERSID"),
    )
)
_DEEPER = frozenset(("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "FROZENSET"))
_KEYS = {  # where they are in what a step consumes, the uppermost first
    "SETITEM": slice(1, 2),
    "SETITEMS": slice(1, -1, 2),
    "DICT": slice(1, None, 2),
    "ADDITEMS": slice(0, -1),
    "FROZENSET": slice(None),
}
_AS_DEEP = frozenset(("REDUCE", "NEWOBJ", "NEWOBJ_EX", "BUILD"))  # may hand a tuple on


class Record:
    """What any object is here: the name of its class, and the state that it was saved with.

    Attributes:
        kind: "module.name" of the class or function that the file names.
        state: what the object's `__setstate__` would get; None where there is none.
    """

    kind = ""
    state: Any = None

    def __new__(cls, *args: Any, **kwargs: Any) -> Record:
        return super().__new__(cls)

    def __call__(self, *args: Any, **kwargs: Any) -> Record:
        return self  # what a call returned may be called too

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def _pass_over(self, *args: Any) -> None:
        """An element of a list, set or table of a kind that is not known here."""

    append = extend = add = update = __setitem__ = _pass_over


class Table(dict):
    """A `collections.OrderedDict`; its own attributes (a state dict's versions) mean nothing here."""

    def __setstate__(self, state: Any) -> None:
        pass


@dataclass(frozen=True)
class Storage:
    """The bytes of tensors: their name in the file, the kind ("torch.HalfStorage") and how many numbers."""

    key: str
    kind: str
    numbers: int


@dataclass(frozen=True)
class TensorClaim:
    """A dense tensor as the file describes it; nothing of that has been checked against its storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


def load(file: BinaryIO) -> tuple[Any, dict[str, Storage]]:
    """The value of the pickle at the file's position, and the storages that it names, by their keys.

    The position moves to the pickle's end.

    Raises:
        ValueError: it is no pickle, or breaks one of the limits above.
        Exception: of many types, for a pickle that is damaged.
    """
    start = file.tell()
    data = file.read(MAX_BYTES)
    stream = io.BytesIO(data)
    _check(stream)
    end = stream.tell()
    file.seek(start + end)
    unpickler = _Unpickler(io.BytesIO(data[:end]), encoding="latin1")
    return unpickler.load(), unpickler.storages


class _Unpickler(pickle.Unpickler):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.storages: dict[str, Storage] = {}
        self._kinds: dict[str, type[Record]] = {}

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        kind = f"{module}.{name}"
        if kind in _MEANT:
            return _MEANT[kind]
        if kind not in self._kinds:
            if len(self._kinds) == MAX_KINDS:
                raise ValueError("too many kinds of objects")
            self._kinds[kind] = type("Record", (Record,), {"kind": kind})
        return self._kinds[kind]

    def persistent_load(self, reference: Any) -> Any:
        # ("storage", class, name, device, how many), in old files also None, and in these
        # ("module", class, source file, its text)
        if isinstance(reference, tuple) and len(reference) == 4 and reference[0] == "module":
            return reference[1]
        if not isinstance(reference, tuple) or len(reference) < 5 or reference[0] != "storage":
            raise ValueError("a reference to something else than a storage")
        _, kind, key, _, numbers, *view = reference
        if not (isinstance(kind, type) and issubclass(kind, Record)) or view not in ([], [None]):
            raise ValueError("a storage of an unknown kind")
        storage = Storage(_of(str, key), kind.kind, _of(int, numbers))
        if self.storages.setdefault(storage.key, storage) != storage:
            raise ValueError("one storage of two kinds")
        return storage


def _of(wanted: type, value: Any) -> Any:
    if type(value) is not wanted:
        raise ValueError(f"{wanted.__name__} expected")
    return value


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any, *rest: Any) -> TensorClaim:
    # `rest`: requires_grad, hooks and, for tensors that are negated or conjugated when read, metadata
    if rest[2:] not in ((), (None,), ({},)):
        raise ValueError("a tensor with operations that are still to be done")
    shape = tuple(_of(int, length) for length in _of(tuple, shape))
    stride = tuple(_of(int, step) for step in _of(tuple, stride))
    return TensorClaim(_of(Storage, storage), _of(int, offset), shape, stride)


_MEANT: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": Table,
    "torch.Size": tuple,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": lambda data, *rest: data,
    "torch._utils._rebuild_parameter_with_state": lambda data, *rest: data,
    "torch._tensor._rebuild_from_type_v2": lambda rebuild, kind, args, state: rebuild(*args),
}


def _check(stream: BinaryIO) -> None:
    """Follow the program without running it.

    `stack` and `memo` hold how deep each value is nested in tuples (a long number counts as one), and
    None for a mark.

    Raises:
        ValueError: it has an unknown step or breaks a limit.
    """
    stack: list[int | None] = []
    memo: dict[int, int | None] = {}
    odd_keys = 0
    for step, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
        name = opcode.name
        if name not in _STEPS or step >= MAX_STEPS:
            raise ValueError("too long a pickle" if step >= MAX_STEPS else f"{name} in a pickle")
        if name in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
            index = len(memo) if argument is None else argument
            if index > step:
                raise ValueError("a memo index out of order")
            memo[index] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[int(argument or 0)])
        elif name == "MARK":
            stack.append(None)
        else:
            taken = _taken(stack, opcode.stack_before)
            deepest = max(taken, default=0)
            if name in _KEYS:
                odd_keys += sum(map(bool, taken[_KEYS[name]]))
            long_number = name in ("LONG1", "LONG4") and int(argument or 0).bit_length() > 64
            depth = deepest + 1 if name in _DEEPER else deepest if name in _AS_DEEP else int(long_number)
            stack.extend([depth] * len(opcode.stack_after))
            if depth > MAX_NESTING:
                raise ValueError("a pickle nested too deep")
            if odd_keys > MAX_ODD_KEYS:
                raise ValueError("too many keys that are no plain numbers or texts")


def _taken(stack: list[int | None], before: list[Any]) -> list[int]:
    """What a step consumes off the stack, the uppermost first."""
    taken, count = [], len(before)
    if pickletools.markobject in before:
        while (depth := stack.pop()) is not None:
            taken.append(depth)
        count = before.index(pickletools.markobject)
    taken += [stack.pop() or 0 for _ in range(count)]
    return taken
