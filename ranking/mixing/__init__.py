"""From scores to an order: what the policy adds, what must differ, what is left to chance.

``decided`` is what a policy says of candidates: ``boosts`` with ``leases`` on budgets, commerce by the day's
``commerce_load``. ``rerank`` makes neighbours differ, ``mixer`` keeps bounds of composition. ``exploration`` draws
some slots by ``evidence`` and ``draws``.
"""
