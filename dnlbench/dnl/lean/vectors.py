"""Vectors of numbers in loops that Numba compiles: ``LANES`` neighbours of a row as one value that stays in a register.

A compiler makes vectors of a loop over a row's numbers only where there are many of them. Rows of states have few, 6 or 12 or
18, and then go number by number, at a tenth of the speed. Here a loop says itself what goes together: it loads a vector, or
the rest of a row through a mask, and adds, subtracts and multiplies vectors as it would numbers::

    mask = first(count)
    total = load(sums, 0, 0, mask)
    for row in range(rows):
        total = total + load(x, row, at, mask)
    store(total, sums, 0, 0, mask)

Arrays have two dimensions, the second one without gaps. A mask that is None means all lanes. bfloat16, which Numba does not
know, stands in arrays as uint16 and is float32 in vectors. Python itself cannot call any of this.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic as _intrinsic
from numba.extending import models, overload, register_model

LANES = 16
"""Of float32, the widest register that there is; processors with narrower ones take several."""

_BITS = ir.IntType(32)
_FLAGS = ("nsz", "contract")


class Lanes(types.Type):
    """``LANES`` numbers of a type, or truth values: a mask."""

    def __init__(self, of: Any) -> None:
        self.of = of
        super().__init__(name=f"Lanes({of})")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Lanes) -> None:
        super().__init__(dmm, fe_type, _vector_of(fe_type))  # type: ignore[no-untyped-call]


_MASK = Lanes(types.boolean)
_NUMBERS = {types.float32: ir.FloatType(), types.float64: ir.DoubleType(), types.boolean: ir.IntType(1)}
Generate = Callable[[Any, Any, Any, Any], Any]


def _vector_of(lanes: Lanes) -> Any:
    return ir.VectorType(_NUMBERS[lanes.of], LANES)


def intrinsic(of_types: Callable[..., tuple[Any, Generate]]) -> Any:
    """What loops call is not what stands here, so types of Python say nothing of it."""
    return _intrinsic(of_types)


def _loaded_from(array: Any) -> Lanes:
    return Lanes(types.float32 if array.dtype == types.uint16 else array.dtype)


@intrinsic
def first(typing: Any, count: Any) -> tuple[Any, Generate]:
    """The mask of the first so many lanes."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lanes = ir.Constant(ir.VectorType(_BITS, LANES), list(range(LANES)))
        return builder.icmp_unsigned("<", lanes, _spread(builder, builder.trunc(arguments[0], _BITS)))

    return _MASK(types.intp), generate


@intrinsic
def load(typing: Any, array: Any, row: Any, column: Any, mask: Any) -> tuple[Any, Generate]:
    """A row's numbers from a column on, zeros where the mask is not."""
    in_bits = array.dtype == types.uint16
    found = _loaded_from(array)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        stored = ir.VectorType(ir.IntType(16), LANES) if in_bits else _vector_of(found)
        pointer, align = _place(context, builder, array, arguments, stored)
        if mask == types.none:
            loaded = builder.load(pointer, align=align)
        else:
            kind = ir.FunctionType(stored, [pointer.type, _BITS, _vector_of(_MASK), stored])
            masked = _function(builder, f"llvm.masked.load.{_suffix(stored)}.p0", kind)
            zeros = ir.Constant(stored, None)
            loaded = builder.call(masked, [pointer, ir.Constant(_BITS, align), arguments[3], zeros])
        return _widened(builder, loaded) if in_bits else loaded

    return found(array, types.intp, types.intp, mask), generate


@intrinsic
def store(typing: Any, value: Any, array: Any, row: Any, column: Any, mask: Any) -> tuple[Any, Generate]:
    """Puts numbers into a row from a column on, where the mask is."""
    in_bits = array.dtype == types.uint16

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        given = _rounded(builder, arguments[0]) if in_bits else arguments[0]
        pointer, align = _place(context, builder, array, arguments[1:], given.type)
        if mask == types.none:
            builder.store(given, pointer, align=align)
        else:
            kind = ir.FunctionType(ir.VoidType(), [given.type, pointer.type, _BITS, _vector_of(_MASK)])
            masked = _function(builder, f"llvm.masked.store.{_suffix(given.type)}.p0", kind)
            builder.call(masked, [given, pointer, ir.Constant(_BITS, align), arguments[4]])
        return context.get_dummy_value()

    return types.none(value, array, types.intp, types.intp, mask), generate


@intrinsic
def zeros(typing: Any, array: Any) -> tuple[Any, Generate]:
    """Zeros in every lane, as `load` would find them in an array."""
    found = _loaded_from(array)
    return found(array), lambda context, builder, signature, arguments: ir.Constant(_vector_of(found), None)


@intrinsic
def where_positive(typing: Any, condition: Any, value: Any) -> tuple[Any, Generate]:
    """The value where the condition is not zero or less, as a NaN is not; zero elsewhere."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        nothing = ir.Constant(_vector_of(value), None)
        return builder.select(builder.fcmp_ordered("<=", arguments[0], nothing), nothing, arguments[1])

    return value(condition, value), generate


def _arithmetic(operation: Callable[..., Any], of_builder: str) -> None:
    """Lets Numba use an operator of Python on two vectors."""

    @intrinsic
    def lane_by_lane(typing: Any, one: Any, other: Any) -> tuple[Any, Generate]:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return getattr(builder, of_builder)(*arguments, flags=_FLAGS)

        return one(one, other), generate

    @overload(operation, strict=False)
    def on_vectors(one: Any, other: Any) -> Callable[[Any, Any], Any] | None:
        if isinstance(one, Lanes) and one == other:
            return lambda one, other: lane_by_lane(one, other)
        return None


_arithmetic(operator.add, "fadd")
_arithmetic(operator.sub, "fsub")
_arithmetic(operator.mul, "fmul")


def _place(context: Any, builder: Any, array: Any, arguments: Any, stored: Any) -> tuple[Any, int]:
    """Where a vector stands in an array, and the alignment that is certain: that of a single number."""
    content = context.make_array(array)(context, builder, arguments[0])
    pointer = cgutils.get_item_pointer(context, builder, array, content, list(arguments[1:3]), wraparound=False)  # type: ignore[no-untyped-call]
    return builder.bitcast(pointer, stored.as_pointer()), array.dtype.bitwidth // 8


def _function(builder: Any, name: str, kind: Any) -> Any:
    return cgutils.get_or_insert_function(builder.module, kind, name)  # type: ignore[no-untyped-call]


def _suffix(vector: Any) -> str:
    return f"v{LANES}" + {"float": "f32", "double": "f64", "i16": "i16"}[str(vector.element)]


def _spread(builder: Any, number: Any) -> Any:
    vector = ir.VectorType(number.type, LANES)
    alone = builder.insert_element(ir.Constant(vector, ir.Undefined), number, ir.Constant(_BITS, 0))
    return builder.shuffle_vector(
        alone, ir.Constant(vector, ir.Undefined), ir.Constant(ir.VectorType(_BITS, LANES), None)
    )


def _widened(builder: Any, halves: Any) -> Any:
    """The float32 of which these are the upper halves."""
    wide = ir.VectorType(_BITS, LANES)
    shifted = builder.shl(builder.zext(halves, wide), ir.Constant(wide, [16] * LANES))
    return builder.bitcast(shifted, ir.VectorType(ir.FloatType(), LANES))


def _rounded(builder: Any, value: Any) -> Any:
    """The upper halves of float32, rounded to nearest, ties to even; a NaN stays one."""
    wide = ir.VectorType(_BITS, LANES)

    def constant(number: int) -> Any:
        return ir.Constant(wide, [number] * LANES)

    bits = builder.bitcast(value, wide)
    upper = builder.lshr(bits, constant(16))
    odd = builder.and_(upper, constant(1))
    nearest = builder.lshr(builder.add(bits, builder.add(odd, constant(0x7FFF))), constant(16))
    quiet = builder.or_(upper, constant(0x40))  # rounding up could turn a NaN into an infinity
    halves = builder.select(builder.fcmp_unordered("uno", value, value), quiet, nearest)
    return builder.trunc(halves, ir.VectorType(ir.IntType(16), LANES))
