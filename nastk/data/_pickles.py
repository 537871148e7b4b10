"""Pickles of plain values read opcode by opcode from a stream, so that files of several gigabytes need little memory.

Containers, texts, numbers and NumPy arrays of numbers are built; tensors are skipped (None takes their place). Any
other name in a pickle is an error, and nothing that it names is ever imported or called.
"""

from __future__ import annotations

import os
import pickle
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from struct import Struct, error
from typing import IO, Any

from nastk.data import readers
from nastk.errors import DataError

CHUNK = 1 << 20
"""Bytes read at a time: fewer reads against memory."""
FREE = 200 << 20
"""Bytes of memory that the content of a file of any size may take."""
SHARE = 4
"""Beyond that, bytes of memory for each byte of the file. NAS-Bench-201's .pth takes .15."""
RATIO = 16
"""Most bytes that one of a compressed file unpacks to, beyond :data:`UNPACKED`; pickled accuracies pack to a third."""
UNPACKED = 64 << 20
"""Bytes that a file of any size may unpack to."""
WORK = 100
"""Most steps of copying and shrinking for each byte that was read."""
ITEM = 64 << 20
"""Most bytes of one text, number or array, so that a hostile file cannot exhaust the memory."""
TORCH_MAGIC = 0x1950A86A20F9469CFC6C
"""The number at the start of files of ``torch.save`` that are not ZIP archives."""
TRUNCATED = "it ends before its end"
"""Reason in messages."""

Shrink = Callable[[dict[Any, Any]], None]
"""Called with every dictionary once its items are set; it may remove entries in place."""

# Binary forms of numbers in pickles.
_SHORT = Struct("<H")
_INT = Struct("<i")
_UINT = Struct("<I")
_FLOAT = Struct(">d")
_ARRAYS = ("numpy.core.multiarray", "numpy._core.multiarray")
"""Modules of NumPy whose array constructors are allowed: before and after NumPy 2."""


class _Name(str):
    """``module.name`` in the pickle; :func:`_call` says what stands in for it."""

    __slots__ = ()


_NAMES = frozenset(
    (
        *("collections.OrderedDict", "builtins.set", "__builtin__.set", "_codecs.encode", "numpy.dtype"),
        *("numpy.ndarray", *(f"{m}.{n}" for m in _ARRAYS for n in ("scalar", "_reconstruct"))),
        *("numpy.core.numeric._frombuffer", "numpy._core.numeric._frombuffer"),
        *("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_parameter"),
        *(f"torch.{kind}Storage" for kind in ("Float", "Double", "Half", "Long", "Int", "Byte", "Bool")),
    )
)
"""All names that are allowed in a pickle."""


def _call(function: Any, arguments: Any) -> Any:
    """Result of a call in the pickle."""
    if type(function) is not _Name or type(arguments) is not tuple:
        raise pickle.UnpicklingError("it calls something that is no name")
    match function.rpartition(".")[2]:
        case "OrderedDict":
            return dict(*arguments)
        case "set":
            return set(*arguments)
        case "encode":
            text, encoding = arguments
            if encoding != "latin1":
                raise pickle.UnpicklingError("it encodes something else than bytes")
            return text.encode("latin1")
        case "dtype":
            return readers._Dtype(*arguments)
        case "scalar":
            dtype, data = arguments
            return readers._array(data, dtype, (1,), "C")[0].item()
        case "_reconstruct":
            return readers._Array()
        case "_frombuffer":
            return readers._FromBuffer(*arguments)
        case "_rebuild_tensor_v2" | "_rebuild_parameter":
            return None
    raise pickle.UnpicklingError(f"it calls {function}")


class Budget:
    """Memory that the content of files may take, which grows with their size: a hostile one is a bomb.

    A byte of a pickle can make an object of 80 bytes, and one of a compressed pickle thousands of them. What is built
    and dropped again (:data:`Shrink`) does not count, so that the memory itself is looked at, once a megabyte.

    Args:
        packed: bytes of all the files together.
    """

    def __init__(self, packed: int):
        self._most, self._before = FREE + SHARE * packed, _memory()

    def check(self, name: str) -> None:
        """Refuse what takes more.

        Raises:
            DataError: with the file's `name`.
        """
        if _memory() - self._before > self._most:
            raise DataError(f"{name} takes more memory than a sound file of its size needs ({self._most >> 20} MiB)")


def _memory() -> int:
    """Bytes that this process holds; where the system does not say, about those of its Python objects."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 64 * sys.getallocatedblocks()


def unpacked_limit(path: Path, limit: int) -> int:
    """Most bytes that a compressed file may unpack to: by its size, and at most `limit`."""
    return min(limit, UNPACKED + RATIO * path.stat().st_size)


def _plain(value: Any) -> Any:
    """The array of a stand-in."""
    return value.value if type(value) is readers._Array else value


class Pickles:
    """Successive pickles of a stream.

    Args:
        stream: opened for reading in binary.
        name: for messages.
        limit: most bytes, unpacked.
        family: expected kind of file, for messages.
        budget: of memory; by default that of a file of no size.
    """

    def __init__(
        self,
        stream: IO[bytes],
        name: str,
        limit: int,
        family: str = "a pickle of plain values",
        budget: Budget | None = None,
    ):
        self._stream, self._name, self._left, self._family = stream, name, limit, family
        self._budget = budget or Budget(0)
        self._buffer, self._at = b"", 0
        self._copied = self._work = self._read = 0

    def load(self, shrink: Shrink | None = None) -> Any:
        """The next object.

        Raises:
            DataError: truncated, too large, or not only plain values. Nothing of it is executed.
        """
        try:
            return _plain(self._load(shrink))
        except DataError:
            raise
        except (IndexError, error, EOFError) as problem:
            raise DataError(f"{self._name} is truncated, or not {self._family}: {TRUNCATED}") from problem
        except Exception as problem:  # a hostile file can make a step fail in nearly any way
            reason = str(problem).strip() or type(problem).__name__
            raise DataError(f"{self._name} is truncated, or not {self._family}: {reason}") from problem

    def _more(self, size: int) -> None:
        """Fill the buffer with at least `size` bytes from the current position, if the stream has that many."""
        if size > ITEM:
            raise pickle.UnpicklingError(f"it holds an item of more than {ITEM >> 20} MiB")
        parts = [self._buffer[self._at :]]
        have = len(parts[0])
        while have < size:
            part = self._stream.read(max(CHUNK, size - have))
            if not part:
                break
            parts.append(part)
            have += len(part)
            self._read += len(part)
            self._left -= len(part)
            if self._left < 0:
                raise DataError(f"{self._name} holds more than is expected at most")
        self._buffer, self._at = b"".join(parts), 0
        self._budget.check(self._name)

    def _copies(self, arguments: Any) -> None:
        """Look at the memory before a call that copies what it is given, however short the call is in the pickle."""
        for argument in arguments if type(arguments) is tuple else ():
            if isinstance(argument, (dict, list, set, str, bytes)):
                self._copied += len(argument) * (1 if isinstance(argument, (str, bytes)) else 64)
                self._worked(len(argument))
        if self._copied > CHUNK:
            self._copied = 0
            self._budget.check(self._name)

    def _shrunk(self, target: dict[Any, Any], shrink: Shrink) -> None:
        """Shrink a dictionary; one that is filled in many steps must not be shrunk as a whole at each."""
        self._worked(len(target) + sum(len(v) for v in target.values() if type(v) in (dict, list)))
        shrink(target)

    def _worked(self, steps: int) -> None:
        """Count steps of copying and shrinking, of which a byte of the file may cause only so many."""
        self._work += steps
        if self._work > WORK * (self._read + CHUNK):
            raise pickle.UnpicklingError("it copies or fills the same containers over and over")

    def _take(self, size: int) -> bytes:
        """The next `size` bytes."""
        if self._at + size > len(self._buffer):
            self._more(size)
        taken = self._buffer[self._at : self._at + size]
        if len(taken) < size:
            raise EOFError
        self._at += size
        return taken

    def _long(self) -> int:
        value = int.from_bytes(self._take(self._take(1)[0]), "little", signed=True)
        if value.bit_length() > 63 and value != TORCH_MAGIC:  # wider ones can be made to collide in a dictionary
            raise pickle.UnpicklingError("it holds an integer of more than 64 bits")
        return value

    def _line(self) -> str:
        if len(self._buffer) - self._at < 256:
            self._more(256)
        end = self._buffer.find(b"\n", self._at, self._at + 256)
        if end < 0:
            raise pickle.UnpicklingError("it asks for a name that does not end")
        line = self._buffer[self._at : end]
        self._at = end + 1
        return line.decode("ascii")

    def _load(self, shrink: Shrink | None) -> Any:
        stack: list[Any] = []
        below: list[list[Any]] = []
        memo: list[Any] = []
        while True:
            buffer, at = self._buffer, self._at
            safe = len(buffer) - 16
            while at <= safe:  # fast path: frequent opcodes whose arguments are in the buffer
                code = buffer[at]
                if code == 0x6A:  # LONG_BINGET
                    stack.append(memo[_UINT.unpack_from(buffer, at + 1)[0]])
                    at += 5
                elif code == 0x47:  # BINFLOAT
                    stack.append(_FLOAT.unpack_from(buffer, at + 1)[0])
                    at += 9
                elif code == 0x68:  # BINGET
                    stack.append(memo[buffer[at + 1]])
                    at += 2
                elif code == 0x72:  # LONG_BINPUT
                    _put(memo, _UINT.unpack_from(buffer, at + 1)[0], stack[-1])
                    at += 5
                elif code == 0x58 and (end := at + 5 + _UINT.unpack_from(buffer, at + 1)[0]) <= at + 64 <= len(buffer):
                    stack.append(sys.intern(buffer[at + 5 : end].decode("utf-8", "surrogatepass")))  # BINUNICODE
                    at = end
                elif code == 0x94:  # MEMOIZE
                    memo.append(stack[-1])
                    at += 1
                elif code == 0x4B:  # BININT1
                    stack.append(buffer[at + 1])
                    at += 2
                else:
                    break
            self._at = at
            code = self._take(1)[0]
            if code == 0x2E:  # STOP
                return stack.pop()
            stack = self._step(code, stack, below, memo, shrink)

    def _step(
        self, code: int, stack: list[Any], below: list[list[Any]], memo: list[Any], shrink: Shrink | None
    ) -> list[Any]:
        """Execute one opcode; returns the stack."""
        match code:
            case 0x68 | 0x6A:  # BINGET, LONG_BINGET
                stack.append(memo[_unsigned(self._take(1 if code == 0x68 else 4))])
            case 0x71 | 0x72:  # BINPUT, LONG_BINPUT
                _put(memo, _unsigned(self._take(1 if code == 0x71 else 4)), stack[-1])
            case 0x94:  # MEMOIZE
                memo.append(stack[-1])
            case 0x47:  # BINFLOAT
                stack.append(_FLOAT.unpack(self._take(8))[0])
            case 0x4B:  # BININT1
                stack.append(self._take(1)[0])
            case 0x58 | 0x8C | 0x8D:  # BINUNICODE, SHORT_BINUNICODE, BINUNICODE8
                size = _unsigned(self._take({0x58: 4, 0x8C: 1, 0x8D: 8}[code]))
                text = self._take(size).decode("utf-8", "surrogatepass")
                stack.append(sys.intern(text) if size < 256 else text)
            case 0x4A:  # BININT
                stack.append(_INT.unpack(self._take(4))[0])
            case 0x4D:  # BININT2
                stack.append(_SHORT.unpack(self._take(2))[0])
            case 0x8A:  # LONG1
                stack.append(self._long())
            case 0x4E | 0x88 | 0x89:  # NONE, NEWTRUE, NEWFALSE
                stack.append({0x4E: None, 0x88: True, 0x89: False}[code])
            case 0x42 | 0x43 | 0x8E | 0x96:  # BINBYTES, SHORT_BINBYTES, BINBYTES8, BYTEARRAY8
                stack.append(self._take(_unsigned(self._take({0x42: 4, 0x43: 1}.get(code, 8)))))
            case 0x28:  # MARK
                below.append(stack)
                return []
            case 0x7D | 0x5D | 0x29 | 0x8F:  # EMPTY_DICT, EMPTY_LIST, EMPTY_TUPLE, EMPTY_SET
                stack.append({0x7D: dict, 0x5D: list, 0x29: tuple, 0x8F: set}[code]())
            case 0x75 | 0x65 | 0x90 | 0x74 | 0x31:  # SETITEMS, APPENDS, ADDITEMS, TUPLE, POP_MARK
                items, stack = stack, below.pop()
                if code == 0x75:
                    self._set_items(stack[-1], items, shrink)
                elif code == 0x65:
                    _of(list, stack[-1]).extend(map(_plain, items))
                elif code == 0x90:
                    _of(set, stack[-1]).update(items)
                elif code == 0x74:
                    stack.append(tuple(items))
            case 0x73:  # SETITEM
                items = [stack.pop(-2), stack.pop()]
                self._set_items(stack[-1], items, shrink)
            case 0x61:  # APPEND
                item = stack.pop()
                _of(list, stack[-1]).append(_plain(item))
            case 0x85 | 0x86 | 0x87:  # TUPLE1, TUPLE2, TUPLE3
                count = code - 0x84
                if len(stack) < count:
                    raise IndexError
                stack[-count:] = [tuple(stack[-count:])]
            case 0x63:  # GLOBAL
                stack.append(_name(self._line(), self._line()))
            case 0x93:  # STACK_GLOBAL
                name, module = stack.pop(), stack.pop()
                stack.append(_name(module, name))
            case 0x52:  # REDUCE
                arguments = stack.pop()
                self._copies(arguments)
                stack[-1] = _call(stack[-1], arguments)
            case 0x62:  # BUILD
                state = stack.pop()
                self._copies(state)
                if type(stack[-1]) not in (readers._Dtype, readers._Array):
                    raise pickle.UnpicklingError("it sets the state of something that has none")
                stack[-1].__setstate__(state)
            case 0x51:  # BINPERSID: a tensor's storage
                stack[-1] = None
            case 0x80:  # PROTO
                self._take(1)
            case 0x95:  # FRAME
                self._take(8)
            case 0x30:  # POP
                stack.pop()
            case _:
                raise pickle.UnpicklingError(f"it holds the opcode {code:#04x}")
        return stack

    def _set_items(self, target: Any, items: list[Any], shrink: Shrink | None) -> None:
        _of(dict, target).update(zip(items[::2], map(_plain, items[1::2]), strict=True))
        if shrink is not None:
            self._shrunk(target, shrink)


def _unsigned(content: bytes) -> int:
    return int.from_bytes(content, "little")


def _put(memo: list[Any], place: int, value: Any) -> None:
    if place == len(memo):
        memo.append(value)
    elif place < len(memo):
        memo[place] = value
    else:
        raise pickle.UnpicklingError("its memo is larger than what it holds")


def _of(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise pickle.UnpicklingError(f"it fills a {type(value).__name__.lstrip('_')} like a {kind.__name__}")
    return value


def _name(module: Any, name: Any) -> _Name:
    full = _Name(f"{module}.{name}")
    if full not in _NAMES:
        raise pickle.UnpicklingError(f"it asks for {full}")
    return full


def load(path: Path, limit: int, shrink: Shrink | None = None, family: str = "a pickle of plain values") -> Any:
    """The object in a file of one pickle; see :meth:`Pickles.load`."""
    with opened(path, limit) as stream:
        return Pickles(stream, str(path), limit, family, Budget(path.stat().st_size)).load(shrink)


def load_torch(path: Path, limit: int, shrink: Shrink | None = None, family: str = "a torch file") -> Any:
    """The object that ``torch.save`` wrote, in a ZIP archive or, before torch 1.6, as one pickle after others.

    Raises:
        DataError: as for :meth:`Pickles.load`; or not a file of ``torch.save``.
    """
    with opened(path, limit) as stream:
        budget = Budget(path.stat().st_size)
        if stream.read(4) != b"PK\x03\x04":
            stream.seek(0)
            pickles = Pickles(stream, str(path), limit, family, budget)
            if pickles.load() != TORCH_MAGIC:
                raise DataError(f"{path} is not {family}: it does not begin as files of torch.save do")
            pickles.load()  # version
            pickles.load()  # byte order and sizes
            return pickles.load(shrink)
        try:
            with zipfile.ZipFile(stream) as archive:
                members = [m for m in archive.namelist() if m.rpartition("/")[2] == "data.pkl"]
                if len(members) != 1:
                    raise DataError(f"{path} is not {family}: it has {len(members)} members data.pkl, expected 1")
                if archive.getinfo(members[0]).compress_type != zipfile.ZIP_STORED:
                    raise DataError(
                        f"{path} is not {family}: its {members[0]} is compressed, which torch.save never does"
                    )
                with archive.open(members[0]) as member:
                    return Pickles(member, str(path), limit, family, budget).load(shrink)
        except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, RuntimeError, OSError) as problem:
            raise DataError(f"{path} is truncated, or not {family}: {problem}") from problem


def opened(path: Path, limit: int) -> IO[bytes]:
    """The file, opened for reading.

    Raises:
        DataError: missing, unreadable or larger than `limit` bytes.
    """
    try:
        if path.stat().st_size > limit:
            raise DataError(f"{path} is larger than the {limit / 2**30:g} GiB that are expected at most")
        return open(path, "rb")
    except OSError as problem:
        raise DataError(f"cannot read {path}: {problem.strerror or problem}") from problem
