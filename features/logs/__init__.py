"""The log on disk: written once, read in order, moved to an archive, mended where it is damaged.

``log`` is what a log is to those who read it; ``reading`` reads one and ``live`` writes it, a part in SQLite
(``rows``) and whole days in Parquet (``archive``), with ``guards`` between it and its files. ``people`` links ids with
drawn names; ``blocks`` marks whom a stretch names; ``erase``, ``erasing`` and ``scrubbing`` take a person out;
``repair`` and ``salvage`` keep all that can be read.
"""
