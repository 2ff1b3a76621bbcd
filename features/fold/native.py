"""Many arrays as one native object, so that a call of a kernel unboxes one thing rather than eighty.

A tuple of eighty arrays costs more than a millisecond to hand to a compiled function, a struct reference under one
microsecond. The struct shares the arrays' memory; its fields carry the names of the NamedTuple it is made of.
"""

from collections.abc import Callable
from typing import cast

from numba import njit, types
from numba.experimental import structref

from features.fold.arrays import Arrays, SlotArrays
from features.fold.assemble import View


@structref.register
class ArraysType(types.StructRef):
    """The compiled type of ``Arrays``."""


@structref.register
class SlotsType(types.StructRef):
    """The compiled type of ``SlotArrays``."""


@structref.register
class ViewType(types.StructRef):
    """The compiled type of ``View``."""


class _NativeArrays(structref.StructRefProxy):
    pass


class _NativeSlots(structref.StructRefProxy):
    pass


class _NativeView(structref.StructRefProxy):
    pass


define_boxing = cast("Callable[[type, type], None]", structref.define_boxing)
define_constructor = cast("Callable[[type, type, list[str]], None]", structref.define_constructor)
for _proxy, _type, _tuple in (
    (_NativeArrays, ArraysType, Arrays),
    (_NativeSlots, SlotsType, SlotArrays),
    (_NativeView, ViewType, View),
):
    define_boxing(_type, _proxy)
    define_constructor(_proxy, _type, list(_tuple._fields))

# To a type checker the struct is the NamedTuple it is made of: kernels read the same fields of both.
_arrays = cast("Callable[..., Arrays]", _NativeArrays)
_slots = cast("Callable[..., SlotArrays]", _NativeSlots)
_view = cast("Callable[..., View]", _NativeView)


@njit(cache=True)
def native_arrays(arrays: Arrays) -> Arrays:
    """The state's arrays as one object that only kernels can read."""
    return _arrays(arrays.tables, arrays.pairs, arrays.rings, arrays.items, arrays.users, arrays.sessions)


@njit(cache=True)
def native_slots(slots: SlotArrays) -> SlotArrays:
    """The layout's arrays as one object that only kernels can read."""
    return _slots(slots.action, slots.life, slots.recency, slots.half_lives)


@njit(cache=True)
def native_view(view: View) -> View:
    """A reader's arrays as one object that only kernels can read."""
    return _view(view.plan, view.codes, view.vectors, view.tastes)
