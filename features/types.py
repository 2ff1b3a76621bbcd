"""Names for the arrays that cross boundaries."""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
DoubleArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
RowArray = NDArray[np.int32]
ShortArray = NDArray[np.int16]
ByteArray = NDArray[np.uint8]
CodeArray = NDArray[np.int8]
TickArray = NDArray[np.uint32]
HashArray = NDArray[np.uint64]
BoolArray = NDArray[np.bool_]
AnyArray = NDArray[np.generic]
