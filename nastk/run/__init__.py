"""The composition root: from the description of a search to a study. Names are resolved and defaults decided here.

``nastk.search(...)``, ``nastk search`` and ``nastk bench search`` all use :func:`compose`, so that one description
gives the same records in all three, and each resumes a study that another began.
"""

from nastk.report.asked import StudyFront
from nastk.run.asking import front
from nastk.run.composition import compose, oracle_of, space_of_search
from nastk.run.description import MEASURED, Objects, SearchDescription
from nastk.run.names import describe, shipped_weights
from nastk.run.objects import describe_objects, search
from nastk.run.reopening import records_from, reopen
from nastk.run.running import Run, SourcesToLearn

__all__ = [
    "MEASURED",
    "Objects",
    "Run",
    "SearchDescription",
    "SourcesToLearn",
    "StudyFront",
    "compose",
    "describe",
    "describe_objects",
    "front",
    "oracle_of",
    "records_from",
    "reopen",
    "search",
    "shipped_weights",
    "space_of_search",
]
