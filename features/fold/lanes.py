"""Vector operations that numba's loops would not give: sixteen sums side by side, masks as bits, lines fetched early.

Nothing here is of one machine: LLVM lowers sixteen lanes to AVX-512, AVX2, SSE or NEON. No product is fused with its
sum, so that every machine gives the same bits.
"""

from collections.abc import Callable
from typing import Protocol, TypeAlias, cast

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import Signature
from numba.extending import intrinsic

from features.types import AnyArray, BoolArray, ByteArray, CodeArray, FloatArray, RowArray, ShortArray

LANES = 16
"""Numbers in one line of the processor's cache, and in the widest register."""
WIDE = 2 * LANES
"""Bytes that are multiplied and added in one go."""
BITS = 64
"""Rows of a mask that are looked at in one go."""

_I8, _I16, _I32, _I64, _FLOAT = *(ir.IntType(width) for width in (8, 16, 32, 64)), ir.FloatType()
_FLOATS, _BYTES = ir.VectorType(_FLOAT, LANES), ir.VectorType(ir.IntType(8), BITS)


class _ArrayStruct(Protocol):
    data: ir.Value
    nitems: ir.Value


class _Context(Protocol):
    def make_array(self, kind: types.Type) -> Callable[["_Context", ir.IRBuilder, ir.Value], _ArrayStruct]: ...
    def get_dummy_value(self) -> ir.Value: ...


_Typed: TypeAlias = tuple[Signature, Callable[[_Context, ir.IRBuilder, Signature, list[ir.Value]], ir.Value]]


def _address(
    context: _Context, build: ir.IRBuilder, array: types.Type, value: ir.Value, at: ir.Value, kind: ir.Type
) -> ir.Value:
    data = context.make_array(array)(context, build, value).data
    return build.bitcast(build.gep(data, [at]), kind.as_pointer())


_variable = cast("Callable[[ir.IRBuilder, ir.Value], ir.Value]", cgutils.alloca_once_value)
_function = cast("Callable[[ir.Module, ir.FunctionType, str], ir.Function]", cgutils.get_or_insert_function)


def _alike(build: ir.IRBuilder, number: ir.Value) -> ir.Value:
    """A number in all lanes."""
    none = ir.Constant(_FLOATS, ir.Undefined)
    every = ir.Constant(ir.VectorType(_I32, LANES), [0] * LANES)
    return build.shuffle_vector(build.insert_element(none, number, _I32(0)), none, every)


def _summed(
    context: _Context,
    build: ir.IRBuilder,
    kinds: tuple[types.Type, types.Type],
    arrays: list[ir.Value],
    whole: ir.Value,
) -> ir.Value:
    """The product of ``whole`` numbers of two flat arrays, given as [one, from where, other, from where]."""
    one, at, other, start = arrays
    total = _variable(build, ir.Constant(_FLOATS, [0.0] * LANES))
    with cgutils.for_range_slice(build, _I64(0), whole, _I64(LANES)) as (k, _):
        left = _address(context, build, kinds[0], one, build.add(at, k), _FLOATS)
        right = _address(context, build, kinds[1], other, build.add(start, k), _FLOATS)
        product = build.fmul(build.load(left, align=4), build.load(right, align=4))
        build.store(build.fadd(build.load(total), product), total)
    folded, width = build.load(total), LANES
    while width > 1:
        width //= 2
        halves = (ir.Constant(ir.VectorType(_I32, width), list(range(s, s + width))) for s in (0, width))
        low, high = (build.shuffle_vector(folded, folded, half) for half in halves)
        folded = build.fadd(low, high)
    return build.extract_element(folded, _I32(0))


@intrinsic
def _lanes(typing: object, matrix: types.Type, at: types.Type, vector: types.Type, whole: types.Type) -> _Typed:
    """The product of ``whole`` numbers, a multiple of ``LANES``, of a flat matrix from ``at`` and of a vector."""

    def write(context: _Context, build: ir.IRBuilder, signature: Signature, arguments: list[ir.Value]) -> ir.Value:
        matrix, at, vector, whole = arguments
        kinds = signature.args[0], signature.args[2]
        return _summed(context, build, kinds, [matrix, at, vector, _I64(0)], whole)

    return types.float32(matrix, types.intp, vector, types.intp), write


@intrinsic
def _square(typing: object, matrix: types.Type, at: types.Type, whole: types.Type) -> _Typed:
    """The product of ``whole`` numbers, a multiple of ``LANES``, of a flat matrix from ``at`` with themselves."""

    def write(context: _Context, build: ir.IRBuilder, signature: Signature, arguments: list[ir.Value]) -> ir.Value:
        matrix, at, whole = arguments
        kind = signature.args[0]
        return _summed(context, build, (kind, kind), [matrix, at, matrix, at], whole)

    return types.float32(matrix, types.intp, types.intp), write


@intrinsic
def _across(
    typing: object,
    tile: types.Type,
    at: types.Type,
    vectors: types.Type,
    start: types.Type,
    dims: types.Type,
    out: types.Type,
    to: types.Type,
) -> _Typed:
    """The products of ``LANES`` vectors, laid number by number, with one."""
    steps = 4  # as many sums as a processor has under way at a time

    def write(context: _Context, build: ir.IRBuilder, signature: Signature, arguments: list[ir.Value]) -> ir.Value:
        tile, at, vectors, start, dims, out, to = arguments
        whole = build.and_(dims, _I64(-steps))
        totals = [_variable(build, ir.Constant(_FLOATS, [0.0] * LANES)) for _ in range(steps)]
        none, every = ir.Constant(_FLOATS, ir.Undefined), ir.Constant(ir.VectorType(_I32, LANES), [0] * LANES)

        def step(k: ir.Value, total: ir.Value) -> None:
            place = build.add(at, build.mul(k, _I64(LANES)))
            numbers = build.load(_address(context, build, signature.args[0], tile, place, _FLOATS), align=4)
            of_vector = _address(context, build, signature.args[2], vectors, build.add(start, k), _FLOAT)
            weights = build.shuffle_vector(
                build.insert_element(none, build.load(of_vector, align=4), _I32(0)), none, every
            )
            build.store(build.fadd(build.load(total), build.fmul(numbers, weights)), total)

        with cgutils.for_range_slice(build, _I64(0), whole, _I64(steps)) as (k, _):
            for n, total in enumerate(totals):
                step(build.add(k, _I64(n)), total)
        with cgutils.for_range_slice(build, whole, dims, _I64(1)) as (k, _):
            step(k, totals[0])
        first, second, third, fourth = (build.load(total) for total in totals)
        sums = build.fadd(build.fadd(first, second), build.fadd(third, fourth))
        build.store(sums, _address(context, build, signature.args[5], out, to, _FLOATS), align=4)
        return context.get_dummy_value()

    return types.void(tile, types.intp, vectors, types.intp, types.intp, out, types.intp), write


@intrinsic
def _bounds(
    typing: object,
    codes: types.Type,
    at: types.Type,
    query: types.Type,
    of_off: types.Type,
    slack: types.Type,
    least: types.Type,
    lower: types.Type,
    upper: types.Type,
    to: types.Type,
) -> _Typed:
    """Bounds of the products of ``LANES`` slots of bytes with numbers of two bytes; which may reach a number."""
    sums, both = ir.VectorType(_I32, LANES), 2 * LANES
    narrow, middle, wide = (ir.VectorType(kind, both) for kind in (_I8, _I16, _I32))

    def write(context: _Context, build: ir.IRBuilder, signature: Signature, arguments: list[ir.Value]) -> ir.Value:
        codes, at, query, of_off, slack, least, lower, upper, to = arguments
        count = context.make_array(signature.args[2])(context, build, query).nitems
        total, none = _variable(build, ir.Constant(sums, [0] * LANES)), ir.Constant(sums, ir.Undefined)
        with cgutils.for_range(build, count) as loop:
            place = build.add(at, build.mul(loop.index, _I64(both)))
            code = build.load(_address(context, build, signature.args[0], codes, place, narrow), align=1)
            pair = build.load(_address(context, build, signature.args[2], query, loop.index, _I32), align=4)
            every = build.shuffle_vector(
                build.insert_element(none, pair, _I32(0)), none, ir.Constant(sums, [0] * LANES)
            )
            # Widened in two steps and added by pairs: what LLVM knows as one multiply-add of processors.
            left, right = build.sext(build.sext(code, middle), wide), build.sext(build.bitcast(every, middle), wide)
            product = build.mul(left, right)
            halves = (ir.Constant(sums, list(range(first, both, 2))) for first in (0, 1))
            even, odd = (build.shuffle_vector(product, product, half) for half in halves)
            build.store(build.add(build.load(total), build.add(even, odd)), total)
        behind = build.add(at, build.mul(count, _I64(both)))
        scales, offs = (
            build.load(
                _address(context, build, signature.args[0], codes, build.add(behind, _I64(far)), _FLOATS), align=4
            )
            for far in (0, 4 * LANES)
        )
        floor, each, number = (_alike(build, one) for one in (slack, of_off, least))
        near = build.fmul(build.sitofp(build.load(total), _FLOATS), scales)
        apart = build.fadd(build.fmul(offs, each), floor)
        high = build.fadd(near, apart)
        build.store(build.fsub(near, apart), _address(context, build, signature.args[6], lower, to, _FLOATS), 4)
        build.store(high, _address(context, build, signature.args[7], upper, to, _FLOATS), 4)
        # What is no number may reach any.
        word = build.bitcast(build.fcmp_unordered(">=", high, number), ir.IntType(LANES))
        return build.zext(word, _I64)

    numbers = types.float32, types.float32, types.float32
    return types.uint64(codes, types.intp, query, *numbers, lower, upper, types.intp), write


@intrinsic
def _byte_sum(typing: object, codes: types.Type, at: types.Type, weights: types.Type) -> _Typed:
    """The sum of products of bytes with as many numbers of two bytes, a multiple of ``WIDE``."""
    sums, narrow, middle, wide = ir.VectorType(_I32, LANES), *(ir.VectorType(one, WIDE) for one in (_I8, _I16, _I32))

    def write(context: _Context, build: ir.IRBuilder, signature: Signature, arguments: list[ir.Value]) -> ir.Value:
        codes, at, weights = arguments
        count = context.make_array(signature.args[2])(context, build, weights).nitems
        total = _variable(build, ir.Constant(sums, [0] * LANES))
        with cgutils.for_range_slice(build, _I64(0), count, _I64(WIDE)) as (k, _):
            code = build.load(_address(context, build, signature.args[0], codes, build.add(at, k), narrow), align=1)
            weight = build.load(_address(context, build, signature.args[2], weights, k, middle), align=2)
            # As in ``_bounds``: one multiply-add of processors.
            product = build.mul(build.zext(code, wide), build.sext(weight, wide))
            halves = (ir.Constant(sums, list(range(first, WIDE, 2))) for first in (0, 1))
            even, odd = (build.shuffle_vector(product, product, half) for half in halves)
            build.store(build.add(build.load(total), build.add(even, odd)), total)
        folded, width = build.load(total), LANES
        while width > 1:
            width //= 2
            parts = (ir.Constant(ir.VectorType(_I32, width), list(range(s, s + width))) for s in (0, width))
            low, high = (build.shuffle_vector(folded, folded, part) for part in parts)
            folded = build.add(low, high)
        return build.extract_element(folded, _I32(0))

    return types.int32(codes, types.intp, weights), write


@intrinsic
def _bits(typing: object, mask: types.Type, at: types.Type) -> _Typed:
    """The ``BITS`` flags of a mask from ``at``, the first in the lowest bit."""

    def write(context: _Context, build: ir.IRBuilder, signature: Signature, arguments: list[ir.Value]) -> ir.Value:
        flags = build.load(_address(context, build, signature.args[0], arguments[0], arguments[1], _BYTES), align=1)
        return build.bitcast(build.icmp_unsigned("!=", flags, ir.Constant(_BYTES, [0] * BITS)), _I64)

    return types.uint64(mask, types.intp), write


@intrinsic
def _lowest(typing: object, word: types.Type) -> _Typed:
    """The place of the lowest bit of a word that is not 0."""

    def write(_: _Context, build: ir.IRBuilder, signature: Signature, arguments: list[ir.Value]) -> ir.Value:
        return build.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.intp(types.uint64), write


@intrinsic
def _ones(typing: object, word: types.Type) -> _Typed:
    """How many bits of a word are set."""

    def write(_: _Context, build: ir.IRBuilder, signature: Signature, arguments: list[ir.Value]) -> ir.Value:
        return build.ctpop(arguments[0])

    return types.intp(types.uint64), write


@intrinsic
def _prefetch(typing: object, flat: types.Type, at: types.Type) -> _Typed:
    """Have the line of a flat array that holds one place fetched, and do not wait for it."""

    def write(context: _Context, build: ir.IRBuilder, signature: Signature, arguments: list[ir.Value]) -> ir.Value:
        place = _address(context, build, signature.args[0], arguments[0], arguments[1], _I8)
        kind = ir.FunctionType(ir.VoidType(), [place.type, _I32, _I32, _I32])
        # To be read, kept in all caches, as what it holds is no code.
        call = _function(build.module, kind, "llvm.prefetch.p0i8")
        build.call(call, [place, _I32(0), _I32(3), _I32(1)])
        return context.get_dummy_value()

    return types.void(flat, types.intp), write


dot = cast("Callable[[FloatArray, int, FloatArray, int], np.float32]", _lanes)
"""``(flat, at, vector, whole)``: the first ``whole`` numbers of a vector times those of a matrix from ``at``.

``whole`` is a multiple of ``LANES``. Lane j sums numbers j, j + 16, … in order; then lanes are folded in halves.
"""

square = cast("Callable[[FloatArray, int, int], np.float32]", _square)
"""``(flat, at, whole)``: ``dot`` of the first ``whole`` numbers of a matrix from ``at`` and themselves."""

across = cast("Callable[[FloatArray, int, FloatArray, int, int, FloatArray, int], None]", _across)
"""``(tile, at, vectors, start, dims, out, to)``: write from ``to`` on the products of ``LANES`` vectors with one.

``tile`` from ``at`` holds the first numbers of all of them, then the second, to ``dims``; the one begins at ``start``.
All arrays are flat.
"""

bounds = cast(
    "Callable[[CodeArray, int, RowArray, np.float32, np.float32, np.float32, FloatArray, FloatArray, int], np.uint64]",
    _bounds,
)
"""``(codes, at, query, of_off, slack, least, lower, upper, to)``: write from ``to`` on bounds (``LANES``,) of slots.

``query`` holds two numbers of two bytes in each of four; ``codes`` from ``at`` two dimensions after two, both numbers
of one slot after those of the last, then four bytes each of every slot's ``scale`` and of its ``off``. A slot's sum of
products, which may not pass 31 bits, times its scale is at most ``off · of_off + slack`` away from what is bounded.
Which upper bounds are not below ``least`` is a word, the first slot in the lowest bit.
"""

byte_sum = cast("Callable[[ByteArray, int, ShortArray], np.int32]", _byte_sum)
"""``(codes, at, weights)``: the sum of products of bytes from ``at`` with weights, in whole numbers of four bytes.

There are a multiple of ``WIDE`` weights; no sum may pass 31 bits.
"""

bits = cast("Callable[[BoolArray, int], np.uint64]", _bits)
"""``(mask, at)``: ``BITS`` flags as a word, the first in the lowest bit."""

lowest = cast("Callable[[np.uint64], int]", _lowest)
"""The place of the lowest bit of a word that is not 0."""

ones = cast("Callable[[np.uint64], int]", _ones)
"""How many bits of a word are set."""

prefetch = cast("Callable[[AnyArray, int], None]", _prefetch)
"""``(flat, at)``: have the line of the place that is ``at`` fetched while other work goes on; within the array."""
