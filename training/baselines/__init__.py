"""What ours must beat, on the same rows and the same past.

``task`` is what each is given; ``systems`` is the table of all: item-kNN (``neighbours``), iALS (``als``), ``ease``,
``fm`` and ``lambdamart`` have files of their own.
"""
