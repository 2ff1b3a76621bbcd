"""The fold's compiled part: arrays, the kernel that writes them and the kernel that reads.

``counters`` folds a batch of events (``pending``) into the ``arrays``, which lie in memory as ``storage`` and
``stretch`` say; ``assemble`` reads rows of a ``plan`` as of one moment, with ``faded``, ``cosines`` and ``taste_of``
(by ``cholesky``); ``lanes`` are vector operations, ``native`` many arrays as one argument.
"""
