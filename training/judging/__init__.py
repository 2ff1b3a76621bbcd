"""Figures that can be believed: same rows for all, counts beside them, intervals over people.

``evaluate`` judges a bundle and ``rolling`` the training itself; ``metrics`` are of order and ``reliability`` of
probabilities, both by the ``bootstrap``; ``figures`` are rows of the table over ``cohorts``; ``retrieval`` judges
sources, ``duration`` and ``watch`` watch time, ``compare`` two bundles.
"""
