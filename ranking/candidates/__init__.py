"""What could be on a page: found by sources, kept by law.

``recall`` asks the ``sources``, ``follow`` among them, over the ``indexes`` of what may be shown. ``legality`` judges
what they found: ``eligibility`` of every home, dated ``rules`` over ``wares``, ``quality`` floors. ``suppression`` is
what was shown or bought already, ``on_air`` the rooms that could be alive.
"""
