"""The report of a bundle: one page to be looked at, without a script or a network.

``findings`` is what is told, as ``metrics.json``; ``report`` is the page, of ``chapters`` in ``markup``, with
``pictures`` and ``curves`` drawn as SVG.
"""
