"""One request at work: from the door to the answer, within its time.

``answers`` is the way of a request; ``generation`` takes it up to its scores, ``making`` makes a page of them on the
rung that ``ladder`` has time for, ``popular`` when there is none. ``pages`` checks and ``show`` tells; ``sample``
keeps what a decision needs to be made again; ``journal`` writes down; ``lookups`` are the small questions; ``intake``
is the door of what callers hand in.
"""
