"""From a log to a bundle: what became of impressions, what was known, trees on both, and probabilities.

``pipeline`` is the way through, asked for by a ``recipe``. ``labels`` and ``examples`` say what is learned from,
``factors`` turn people and items into vectors, day by day, ``tastes`` too; ``table`` is what ``heads`` grow on
(``grower``, ``stacking``, ``calibration``); ``audit`` looks for leaks.
"""
