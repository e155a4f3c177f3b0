"""The kernels of a program that XLA has compiled for a GPU: what each reads, writes and multiplies.

Read off the optimised program's text. A fusion, a call of a library and every other operation that
is not free is a kernel. It reads its operands and writes its results once; of an operand that is
only sliced, and of one that is updated in place, what is sliced or updated counts.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

BITS = {"pred": 8, "s8": 8, "u8": 8, "bf16": 16, "f16": 16, "s32": 32, "u32": 32, "f32": 32,
        "s64": 64, "u64": 64, "f64": 64}  # fmt: skip
_FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "iota",
         "partition-id", "replica-id", "domain", "opt-barrier"}  # fmt: skip
_SLICES = {"slice", "dynamic-slice", "gather"}
_HEADER = re.compile(r"(ENTRY )?%?([\w.-]+) \(.*\{$")
_LINE = re.compile(r"\s+(ROOT )?%?([\w.-]+) = (\(.*?\)|\S+) ([\w-]+)\((.*)$")
_ARRAY = re.compile(r"(\w+)\[([\d,]*)\]")


@dataclass(frozen=True)
class Kernel:
    """One launch.

    Attributes:
        name: XLA's.
        origin: the operation of the source that it came from.
        bytes: read and written.
        flops: of the matrix products in it.
    """

    name: str
    origin: str
    bytes: float
    flops: float


@dataclass(frozen=True)
class _Op:
    name: str
    shape: str
    code: str
    operands: tuple[str, ...]
    line: str
    root: bool


def size(shape: str) -> float:
    """Bytes of the arrays in a result's type."""
    return sum(
        math.prod(_dimensions(dimensions)) * BITS.get(kind, 0) / 8
        for kind, dimensions in _ARRAY.findall(shape)
    )


def _dimensions(text: str) -> list[int]:
    return [int(part) for part in text.split(",") if part]


class Program:
    """The computations in an optimised program's text."""

    def __init__(self, text: str):
        self._bodies: dict[str, dict[str, _Op]] = {}
        body: dict[str, _Op] = {}
        for line in text.splitlines():
            if line and not line[0].isspace():
                if start := _HEADER.match(line):
                    body = self._bodies[start[2]] = {}
                    self._entry = start[2] if start[1] else getattr(self, "_entry", start[2])
            elif found := _LINE.match(line):
                root, name, shape, code, rest = found.groups()
                operands = tuple(re.findall(r"%([\w.-]+)", rest[: _closing(rest)]))
                body[name] = _Op(name, shape, code, operands, line, bool(root))

    @cached_property
    def kernels(self) -> list[Kernel]:
        """Of one pass through every loop whose count is not known, and of all of the others."""
        return list(self._walk(self._entry, 1))

    def _walk(self, name: str, times: int) -> Iterator[Kernel]:
        body = self._bodies[name]
        for op in body.values():
            if op.code in _FREE or op.code.endswith("-done"):
                continue
            if op.code in ("while", "call", "conditional", "async-start"):
                trips = re.search(r'"known_trip_count":\{"n":"(\d+)"', op.line)
                again = int(trips[1]) if trips and op.code == "while" else 1
                for inner in re.findall(r"(?:body|to_apply|calls)=%?([\w.-]+)", op.line):
                    yield from self._walk(inner, times * again)
                continue
            origin = re.search(r'op_name="([^"]*)"', op.line)
            kernel = Kernel(op.name, origin[1] if origin else "", *self._cost(op, body))
            yield from [kernel] * times

    def _cost(self, op: _Op, body: dict[str, _Op]) -> tuple[float, float]:
        inside = re.search(r"calls=%?([\w.-]+)", op.line)
        if op.code != "fusion" or not inside:
            read = sum(size(body[name].shape) for name in op.operands if name in body)
            return read + size(op.shape), self._product(op, body)
        fused = self._bodies[inside[1]]
        parameters = [each for each in fused.values() if each.code == "parameter"]
        moved = size(op.shape) + sum(self._read(each.name, fused) for each in parameters)
        for each in fused.values():  # written in place: the rest of the buffer stays as it is
            if each.code == "dynamic-update-slice" and self._is_result(each, fused):
                moved -= size(each.shape) - size(fused[each.operands[1]].shape)
        return moved, self._products(inside[1])

    def _products(self, name: str) -> float:
        """Of a fused computation and of those that it calls, where products may be."""
        body, found = self._bodies[name], 0.0
        for op in body.values():
            found += self._product(op, body)
            for inner in re.findall(r"calls=%?([\w.-]+)", op.line):
                found += self._products(inner)
        return found

    def _read(self, name: str, body: dict[str, _Op]) -> float:
        """Bytes of a parameter that a fusion reads."""
        whole, found = size(body[name].shape), 0.0
        for op in body.values():
            if name not in op.operands:
                continue
            if op.code in _SLICES and op.operands[0] == name:
                found += size(op.shape)
            elif op.code == "dynamic-update-slice" and op.operands[0] == name:
                pass
            elif op.code == "bitcast":
                found += self._read(op.name, body)
            else:
                return whole
        return min(found, whole)

    @staticmethod
    def _is_result(op: _Op, body: dict[str, _Op]) -> bool:
        names = {op.name}
        for each in body.values():  # in order: what uses a name comes after it
            if each.code in ("bitcast", "tuple") and names & set(each.operands):
                names.add(each.name)
        return any(each.root and each.name in names for each in body.values())

    @staticmethod
    def _product(op: _Op, body: dict[str, _Op]) -> float:
        found = re.search(r'lhs_contracting_dim(?:s=\{|ensions":\[)([\d,"]*)', op.line)
        if not found or op.operands[0] not in body:
            return 0.0
        left = _dimensions(_ARRAY.findall(body[op.operands[0]].shape)[0][1])
        over = math.prod(left[int(axis)] for axis in re.findall(r"\d+", found[1]))
        result = _dimensions(_ARRAY.findall(op.shape)[0][1])
        return 2.0 * over * math.prod(result)


def _closing(text: str) -> int:
    """Where the bracket closes that is open before the text."""
    depth = 1
    for place, sign in enumerate(text):
        depth += {"(": 1, ")": -1}.get(sign, 0)
        if not depth:
            return place
    return len(text)
