"""Trees: compiled, fed with codes, and walked without a branch.

``trees`` is the door: a ``Forest`` of all heads, bit-equal to LightGBM. ``compiler`` makes its arrays (``model``) of a
model's text; ``codes`` makes bytes of floats, ``live_codes`` and ``item_codes`` make them of the state and the
catalog; ``fold`` takes out what a request decides for all rows, and ``kernel`` scores (``leaves``), with the vector
operations of ``lanes``.
"""
