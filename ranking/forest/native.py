"""Compiled heads as one native object, so that a call of a kernel unboxes one thing rather than twenty arrays."""

from collections.abc import Callable
from typing import cast

from numba import njit, types
from numba.experimental import structref

from features.fold.native import define_boxing, define_constructor
from ranking.forest.model import Model


@structref.register
class ModelType(types.StructRef):
    """The compiled type of ``Model``."""


class _NativeModel(structref.StructRefProxy):
    pass


define_boxing(ModelType, _NativeModel)
define_constructor(_NativeModel, ModelType, list(Model._fields))
_model = cast("Callable[..., Model]", _NativeModel)


@njit(cache=True)
def native_model(model: Model) -> Model:
    """The arrays of compiled heads as one object that only kernels can read."""
    return _model(
        model.ranks,
        model.members,
        model.nodes,
        model.test_age,
        model.rank_tests,
        model.nodes_below,
        model.slots_in_all,
    )
