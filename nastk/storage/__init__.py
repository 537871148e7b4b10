"""Histories in a database: SQLite for one machine, PostgreSQL for a group.

A database holds many studies. A study has a name and an identity (space, objectives, constraints, searcher, random
seed ...), and the records of its evaluations. An evaluation has an identity too: what another study of the same
database evaluated on the same space with the same oracle is taken over, and counts against no budget.
"""

from nastk.storage.durable import Computed, DurableHistory
from nastk.storage.opening import open_history

__all__ = ["Computed", "DurableHistory", "open_history"]
