"""Decisions made again: a page of the past from the log at its moment, by its bundle or another.

``re_decide`` is the door; ``outcome`` computes one decision with the very stages that made it, ``account`` says what
became of each candidate.
"""
