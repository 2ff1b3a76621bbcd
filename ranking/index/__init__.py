"""Vectors by item row: found exactly, or through lists that change in place.

``exact`` holds rooms: all of them are looked at, bytes first (``coarse``). ``listed`` holds products: it plans by how
many are allowed, over ``lists`` of rows (``chains``) around ``centroids``; ``refit`` makes new lists beside the old,
``kept`` keeps them on disk. ``rough`` and ``scan`` are the loops over rows.
"""
