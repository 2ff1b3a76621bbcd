"""Where data comes from: public data sets read as records of the log, and a simulated world of live commerce.

``KuaiRand`` reads real exposures and feedback; its ``Summary`` says what was found and what was done about it.
Every source yields tables of ``features.logs.log.UNPLACED`` in the order of the world, ready for ``Archive.extend``.
The product facts behind the engine, and what answers each, stand in REQUIREMENTS.md beside this file.
"""

from seeds.kuairand import KuaiRand, Summary
from seeds.world import Size, Visits, World

__all__ = ["KuaiRand", "Size", "Summary", "Visits", "World"]
