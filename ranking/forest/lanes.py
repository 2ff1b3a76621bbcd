"""Vector operations that numba's loops would not give ``kernel``: LLVM instructions on words of row bits.

Nothing here is of one machine: LLVM lowers a compare of 64 bytes or a load of 8 words to AVX-512, AVX2, SSE or NEON.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias, cast

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import Signature
from numba.extending import intrinsic

from features.types import ByteArray, FloatArray, HashArray, IntArray

BLOCK = 64  # rows of one word
LANES = 8  # words of one slot: an AVX-512 register, and wide enough to hide latency elsewhere
SLOT_BYTES = LANES * BLOCK // 8
WIDE = "+avx512f"
"""Of processors that have it a register holds a slot."""

_I1, _I8, _I16, _I32, _I64 = (ir.IntType(width) for width in (1, 8, 16, 32, 64))
_BYTES, _WORDS = ir.VectorType(_I8, BLOCK), ir.VectorType(_I64, LANES)
_FLOATS = ir.VectorType(ir.FloatType(), 16)
_NO_ROWS = ir.Constant(_WORDS, [0] * LANES)


class _ArrayStruct(Protocol):
    data: ir.Value


class _Context(Protocol):
    def make_array(self, kind: types.Type) -> Callable[["_Context", ir.IRBuilder, ir.Value], _ArrayStruct]: ...
    def get_dummy_value(self) -> ir.Value: ...
    def codegen(self) -> "_Target": ...


class _Target(Protocol):
    def magic_tuple(self) -> tuple[str, str, str]: ...


_Codegen: TypeAlias = Callable[[_Context, ir.IRBuilder, Signature, list[ir.Value]], ir.Value]
Typed: TypeAlias = tuple[Signature, _Codegen]
declared = cast("Callable[[ir.Module, ir.FunctionType, str], ir.Function]", cgutils.get_or_insert_function)
"""``(module, kind, name)``: a function that LLVM knows by its name."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an operation, while its instructions are written."""

    context: _Context
    build: ir.IRBuilder
    signature: Signature
    arguments: list[ir.Value]

    def at(self, array: int, offset: ir.Value, kind: ir.Type, unit: ir.Type | None = None) -> ir.Value:
        """Address of a ``kind`` in an array argument, its offset counted in items or in another unit."""
        data = self.context.make_array(self.signature.args[array])(self.context, self.build, self.arguments[array]).data
        start = data if unit is None else self.build.bitcast(data, unit.as_pointer())
        return self.build.bitcast(self.build.gep(start, [offset]), kind.as_pointer())

    def every(self, value: ir.Value, kind: ir.Type) -> ir.Value:
        """A vector whose lanes all have the value."""
        undefined = ir.Constant(kind, ir.Undefined)
        first = self.build.insert_element(undefined, value, ir.Constant(_I32, 0))
        return self.build.shuffle_vector(
            first, undefined, ir.Constant(ir.VectorType(_I32, kind.count), [0] * kind.count)
        )

    def gather(self, unit: ir.Type, addresses: ir.Value) -> ir.Value:
        """The numbers of 8 bytes at eight addresses."""
        pointers, mask, kind = (ir.VectorType(one, LANES) for one in (unit.as_pointer(), _I1, unit))
        name = f"llvm.masked.gather.v8{'f' if unit == ir.DoubleType() else 'i'}64.v8p0"
        gather = declared(self.build.module, ir.FunctionType(kind, [pointers, _I32, mask, kind]), name)
        always, undefined = ir.Constant(mask, [1] * LANES), ir.Constant(kind, ir.Undefined)
        where = self.build.inttoptr(addresses, pointers)
        return self.build.call(gather, [where, ir.Constant(_I32, 8), always, undefined])

    def can(self, feature: str) -> bool:
        """Whether the processor that is compiled for has a feature, such as ``+avx512f``."""
        return feature in self.context.codegen().magic_tuple()[2].split(",")

    def union(self, words: list[ir.Value]) -> ir.Value:
        """The bits that any of some words has."""
        total = words[0]
        for word in words[1:]:
            total = self.build.or_(total, word)
        return total


def lowered(write: Callable[[Call], ir.Value | None]) -> _Codegen:
    """What numba calls to have an operation written."""

    def codegen(context: _Context, builder: ir.IRBuilder, signature: Signature, arguments: list[ir.Value]) -> ir.Value:
        value = write(Call(context, builder, signature, arguments))
        return context.get_dummy_value() if value is None else value

    return codegen


def number(value: int) -> ir.Constant:
    """A whole number of eight bytes."""
    return ir.Constant(_I64, value)


@intrinsic
def _at_most(typing: object, codes: types.Type, offset: types.Type, most: types.Type) -> Typed:
    def write(call: Call) -> ir.Value:
        _, offset, most = call.arguments
        rows = call.build.load(call.at(0, offset, _BYTES), align=1)
        passes = call.build.icmp_unsigned("<=", rows, call.every(most, _BYTES))
        return call.build.bitcast(passes, _I64)

    return types.uint64(codes, types.intp, types.uint8), lowered(write)


def _turned(call: Call, rows: list[ir.Value], shift: int) -> list[ir.Value]:
    """Eight rows of words after three steps of a transposition of bits: by 4, 2 and 1 times a shift."""
    build = call.build
    for apart in (4, 2, 1):
        by = apart * shift
        low = sum((1 << by) - 1 << start for start in range(0, BLOCK, 2 * by))
        step, mask = ir.Constant(_WORDS, [by] * LANES), ir.Constant(_WORDS, [low] * LANES)
        for k in range(8):
            if k & apart == 0:
                high = build.and_(build.xor(build.lshr(rows[k], step), rows[k + apart]), mask)
                rows[k + apart] = build.xor(rows[k + apart], high)
                rows[k] = build.xor(rows[k], build.shl(high, step))
    return rows


@intrinsic
def _turn_in(
    typing: object, words: types.Type, first: types.Type, places: types.Type, row: types.Type, half: types.Type
) -> Typed:
    def write(call: Call) -> None:
        build, (_, first, _, row, _) = call.build, call.arguments
        base, rows = call.every(build.ptrtoint(call.at(0, first, _I8), _I64), _WORDS), []
        for k in range(8):
            slot = build.mul(build.add(row, number(k)), number(LANES))
            place = build.load(call.at(2, slot, _WORDS), align=8)
            rows.append(call.gather(_I64, build.add(base, build.shl(place, ir.Constant(_WORDS, [3] * LANES)))))
        for k, word in enumerate(_turned(call, rows, 1)):
            build.store(word, call.at(4, build.mul(build.add(row, number(k)), number(LANES)), _WORDS), align=8)

    return types.void(words, types.intp, places, types.intp, half), lowered(write)


@intrinsic
def _turn_out(
    typing: object, half: types.Type, row: types.Type, numbers: types.Type, first: types.Type, tests: types.Type
) -> Typed:
    def write(call: Call) -> None:
        build, (_, row, _, first, _) = call.build, call.arguments
        places = [build.add(row, number(8 * k)) for k in range(8)]
        rows = [build.load(call.at(0, build.mul(place, number(LANES)), _WORDS), align=8) for place in places]
        for place, word in zip(places, _turned(call, rows, 8), strict=True):
            test = build.load(call.at(2, build.add(first, place), _I64), align=8)
            build.store(word, call.at(4, build.mul(test, number(LANES)), _WORDS), align=8)

    return types.void(half, types.intp, numbers, types.intp, tests), lowered(write)


@intrinsic
def _count_below(typing: object, cuts: types.Type, offset: types.Type, value: types.Type) -> Typed:
    def write(call: Call) -> ir.Value:
        _, offset, value = call.arguments
        row = call.build.load(call.at(0, offset, _FLOATS), align=4)
        below = call.build.bitcast(call.build.fcmp_ordered("<", row, call.every(value, _FLOATS)), _I16)
        return call.build.zext(call.build.ctpop(below), _I64)

    return types.intp(cuts, types.intp, types.float32), lowered(write)


@intrinsic
def _split(
    typing: object, rows: types.Type, node: types.Type, records: types.Type, record: types.Type, tests: types.Type
) -> Typed:
    def write(call: Call) -> None:
        build, (_, node, _, record, _) = call.build, call.arguments

        def slot(array: int, offset: ir.Value) -> ir.Value:
            return call.at(array, offset, _WORDS, _I8)

        packed = build.load(call.at(2, record, _I64), align=8)
        test, left = build.lshr(packed, number(32)), build.and_(build.lshr(packed, number(16)), number(0xFFFF))
        here = build.load(slot(0, build.mul(node, number(SLOT_BYTES))), align=8)
        passes = build.and_(here, build.load(slot(4, test), align=8))
        build.store(passes, slot(0, left), align=8)
        build.store(build.xor(here, passes), slot(0, build.and_(packed, number(0xFFFF))), align=8)

    return types.void(rows, types.intp, records, types.intp, tests), lowered(write)


def _write_planes(call: Call, first: ir.Value, groups: ir.Value, bits: int, lanes: range) -> None:
    """The planes of some lanes, eight leaves at a time."""
    build, kind = call.build, ir.VectorType(_I64, len(lanes))
    entry, loop, done = build.block, build.append_basic_block("leaves"), build.append_basic_block("planes")
    build.branch(loop)
    build.position_at_end(loop)
    group, before = build.phi(_I64), [build.phi(kind) for _ in range(bits)]
    start = build.mul(build.add(first, build.mul(group, number(8))), number(LANES))
    leaf = [build.load(call.at(0, build.add(start, number(i * LANES + lanes.start)), kind), align=8) for i in range(8)]
    second, third, fourth = (build.or_(leaf[i], leaf[i + 1]) for i in (2, 4, 6))
    upper = build.or_(third, fourth)
    some = call.union([leaf[0], leaf[1], second, upper])
    of_group = [call.union([leaf[1], leaf[3], leaf[5], leaf[7]]), build.or_(second, fourth), upper]
    for b in range(3, bits):  # these bits are the group's number, the same for its eight leaves
        bit = build.and_(build.lshr(group, number(b - 3)), number(1))
        of_group.append(build.and_(some, call.every(build.neg(bit), kind)))
    after = [build.or_(old, new) for old, new in zip(before, of_group, strict=True)]
    following = build.add(group, number(1))
    build.cbranch(build.icmp_signed("<", following, groups), loop, done)
    none = ir.Constant(kind, [0] * len(lanes))
    for old, initial, new in zip([group, *before], [number(0), *[none] * bits], [following, *after], strict=True):
        old.add_incoming(initial, entry)
        old.add_incoming(new, loop)
    build.position_at_end(done)
    for b, plane in enumerate(after):
        build.store(plane, call.at(3, number(b * LANES + lanes.start), kind), align=8)


@intrinsic(prefer_literal=True)
def _leaf_planes(
    typing: object,
    rows: types.Type,
    first: types.Type,
    groups: types.Type,
    planes: types.Type,
    bits: types.IntegerLiteral,
) -> Typed:
    def write(call: Call) -> None:
        # What is added up must stay in registers: those of AVX-512 hold eight words and are thirty-two, others less.
        wide = LANES if call.can(WIDE) else LANES // 2
        for lane in range(0, LANES, wide):
            _write_planes(call, call.arguments[1], call.arguments[2], int(bits.literal_value), range(lane, lane + wide))

    return types.void(rows, types.intp, types.intp, planes, bits), lowered(write)


at_most = cast("Callable[[ByteArray, int, int], int]", _at_most)
"""``(codes, offset, most)``: a word whose bit j says ``codes[offset + j] <= most``."""

turn_in = cast("Callable[[HashArray, int, IntArray, int, HashArray], None]", _turn_in)
"""``(words, first, places, row, half)``: for rows row <= j < row + 8 of every lane the words ``words[first + place]``,
where ``places`` (64, 8) are by row and lane, and half of what makes rows of their bits, three steps of six."""

turn_out = cast("Callable[[HashArray, int, IntArray, int, HashArray], None]", _turn_out)
"""``(half, row, numbers, first, tests)``: the other half, for bits row, row + 8, … of a word: bit b of the words of 512
rows is the slot of test ``numbers[first + b]``."""

count_below = cast("Callable[[FloatArray, int, float], int]", _count_below)
"""``(cuts, offset, value)``: how many of 16 cuts from an offset are less than a value; 0 for NaN."""

split = cast("Callable[[HashArray, int, HashArray, int, HashArray], None]", _split)
"""``(rows, node, records, record, tests)``: send a node's rows that pass its test to its left slot, others right."""

leaf_planes = cast("Callable[[HashArray, int, int, HashArray, int], None]", _leaf_planes)
"""``(rows, first, groups, planes, bits)``: so many slots of the bits of each row's leaf, of 8 * groups leaves from a
slot; ``bits`` is written out, and no leaf has a larger number."""
