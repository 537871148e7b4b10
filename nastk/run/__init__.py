"""The composition root: from the description of a search to a study. Names are resolved and defaults decided here.

``nastk.search(...)``, ``nastk search`` and ``nastk bench search`` all use :func:`compose`, so that one description
gives the same records in all three, and each resumes a study that another began.
"""

from nastk.run.composition import compose, oracle_of, space_of_search
from nastk.run.description import MEASURED, Objects, SearchDescription
from nastk.run.names import describe, shipped_weights
from nastk.run.objects import describe_objects, search
from nastk.run.running import Run, SourcesToLearn

__all__ = [
    "MEASURED",
    "Objects",
    "Run",
    "SearchDescription",
    "SourcesToLearn",
    "compose",
    "describe",
    "describe_objects",
    "oracle_of",
    "search",
    "shipped_weights",
    "space_of_search",
]
