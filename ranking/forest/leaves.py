"""What rows get of a tree: each row's leaf is looked up by its number, and its value added to the row's score.

Sixty-four values fit in registers. Where the processor can pick numbers of four bytes from two registers by a third, as
AVX-512 does, both halves of a value are looked up so: half the price of fetching it from memory. Elsewhere, and where a
tree has more leaves, values are gathered. The bits are the same.
"""

from collections.abc import Callable
from typing import cast

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from features.types import DoubleArray, HashArray
from ranking.forest.lanes import BLOCK, LANES, WIDE, Call, Typed, declared, lowered, number

_I8, _I32, _I64 = (ir.IntType(width) for width in (8, 32, 64))
_BYTES, _BITS = ir.VectorType(_I8, BLOCK), ir.VectorType(ir.IntType(1), BLOCK)
_WORDS, _DOUBLES = ir.VectorType(_I64, LANES), ir.VectorType(ir.DoubleType(), LANES)
_HALVES = ir.VectorType(_I32, 2 * LANES)
_PICK = "llvm.x86.avx512.vpermi2var.d.512"
IN_REGISTERS = 64
"""Leaves of a tree whose values are looked up in registers."""

ORDER = tuple(
    part + 4 * (4 * (j // 2) + 2 * half + j % 2) for part in range(4) for half in range(2) for j in range(LANES)
)
"""Which of 64 rows has each place of its scores: numbers of one byte are looked at as every fourth."""


def _leaf_numbers(call: Call, planes: int, lane: ir.Value, bits: int) -> ir.Value:
    """A byte for each row of a lane, from its bit of each plane."""
    numbers = none = ir.Constant(_BYTES, [0] * BLOCK)
    for b in range(bits):
        word = call.build.load(call.at(planes, call.build.add(lane, number(b * LANES)), _I64), align=8)
        bit = call.build.select(call.build.bitcast(word, _BITS), ir.Constant(_BYTES, [1 << b] * BLOCK), none)
        numbers = call.build.or_(numbers, bit)
    return numbers


def _constant(numbers: list[int]) -> ir.Constant:
    return ir.Constant(ir.VectorType(_I32, len(numbers)), numbers)


def _tables(call: Call, leaves: int, start: ir.Value) -> tuple[list[ir.Value], list[ir.Value]]:
    """The lower and the upper halves of 64 values, sixteen a register."""
    low, high = list[ir.Value](), list[ir.Value]()
    for first in range(0, IN_REGISTERS, 2 * LANES):
        eight = [call.at(leaves, call.build.add(start, number(first + k)), _HALVES) for k in (0, LANES)]
        one, other = (call.build.load(address, align=8) for address in eight)
        for halves, at in ((low, 0), (high, 1)):
            halves.append(call.build.shuffle_vector(one, other, _constant(list(range(at, 4 * LANES, 2)))))
    return low, high


def _picked(call: Call, tables: list[ir.Value], numbers: ir.Value) -> ir.Value:
    """Of 64 numbers in four registers sixteen, by the low six bits of as many."""
    pick = declared(call.build.module, ir.FunctionType(_HALVES, [_HALVES] * 3), _PICK)
    near, far = (call.build.call(pick, [tables[k], numbers, tables[k + 1]]) for k in (0, 2))
    is_far = call.build.and_(numbers, ir.Constant(_HALVES, [32] * 16))
    return call.build.select(call.build.icmp_unsigned("!=", is_far, ir.Constant(_HALVES, [0] * 16)), far, near)


def _in_registers(call: Call, lane: ir.Value, tables: tuple[list[ir.Value], list[ir.Value]]) -> list[ir.Value]:
    """The values of a lane's leaves in the order of ``ORDER``."""
    values, build = list[ir.Value](), call.build
    numbers = build.bitcast(_leaf_numbers(call, 0, lane, 6), _HALVES)
    for part in range(4):
        shifted = build.lshr(numbers, ir.Constant(_HALVES, [8 * part] * 16))
        low, high = (_picked(call, some, shifted) for some in tables)
        for half in range(2):
            at = [4 * (j // 2) + 2 * half + j % 2 for j in range(LANES)]
            both = build.shuffle_vector(low, high, _constant([place for i in at for place in (i, 16 + i)]))
            values.append(build.bitcast(both, _DOUBLES))
    return values


def _gathered(call: Call, lane: ir.Value, base: ir.Value, bits: int) -> list[ir.Value]:
    """The same, each fetched from memory."""
    values, numbers = list[ir.Value](), _leaf_numbers(call, 0, lane, bits)
    for place in range(0, BLOCK, LANES):
        some = _constant(list(ORDER[place : place + LANES]))
        eight = call.build.zext(call.build.shuffle_vector(numbers, ir.Constant(_BYTES, ir.Undefined), some), _WORDS)
        address = call.build.add(base, call.build.shl(eight, ir.Constant(_WORDS, [3] * LANES)))
        values.append(call.gather(ir.DoubleType(), address))
    return values


@intrinsic(prefer_literal=True)
def _add_leaves(
    typing: object,
    planes: types.Type,
    blocks: types.Type,
    bits: types.IntegerLiteral,
    leaves: types.Type,
    start: types.Type,
    scores: types.Type,
    offset: types.Type,
) -> Typed:
    width = int(bits.literal_value)

    def write(call: Call) -> None:
        build, (_, blocks, _, _, start, _, offset) = call.build, call.arguments
        by_registers = 1 << width == IN_REGISTERS and call.can(WIDE)
        tables = _tables(call, 3, start) if by_registers else ([], [])
        base = call.every(build.ptrtoint(call.at(3, start, _I8), _I64), _WORDS)
        with cgutils.for_range(build, blocks) as loop:
            lane, to = loop.index, build.add(offset, build.mul(loop.index, number(BLOCK)))
            values = _in_registers(call, lane, tables) if by_registers else _gathered(call, lane, base, width)
            for k, value in enumerate(values):
                place = call.at(5, build.add(to, number(k * LANES)), _DOUBLES)
                build.store(build.fadd(build.load(place, align=8), value), place, align=8)

    return types.void(planes, types.intp, bits, leaves, types.intp, scores, types.intp), lowered(write)


add_leaves = cast("Callable[[HashArray, int, int, DoubleArray, int, DoubleArray, int], None]", _add_leaves)
"""``(planes, blocks, bits, leaves, start, scores, offset)``: add to 64 scores of each lane the values of its leaves.

The scores of a lane are in the order of ``ORDER``. Of 6 bits there must be ``IN_REGISTERS`` values from ``start`` on,
whether they are of the tree or not.
"""
