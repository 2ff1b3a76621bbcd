"""A bundle on disk and in memory: what training learned and serving scores by.

``bundle`` writes and loads one, whole or not at all; ``attached`` is what stands beside it; ``pointer`` says which is
current and ``versions`` which there are. ``ranker`` makes probabilities of its heads by ``calibration``; ``matrices``
are its large arrays.
"""
