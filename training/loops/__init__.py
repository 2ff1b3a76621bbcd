"""Closed loops: policies and bundles live through days of a world, and what they show is what they learn of.

``loop`` is one day after another, ``trial`` sets arms side by side, ``trials`` runs them in many worlds; ``bubble``
and ``exposure`` say how narrow a feed is and whom it shows.
"""
