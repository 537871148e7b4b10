"""A search opened again from its description and its records, to be asked and not to be gone on with.

Its predictors learn from the records what they knew when the search ended; nothing is evaluated or measured.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from nastk.errors import DataError, InvalidValue, NastkError
from nastk.evaluation import Record, is_purpose
from nastk.history import History
from nastk.result import Result
from nastk.run.composition import compose
from nastk.run.description import Objects, SearchDescription
from nastk.spaces.base import SearchSpace


def reopen(
    description: SearchDescription,
    records: Iterable[Record],
    objects: Objects | None = None,
    constraints: Sequence[str] | None = None,
) -> Result:
    """The result of a search that has these records, as its searcher recommends now.

    Args:
        description: of the search.
        records: its evaluations, oldest first; at most one of each architecture, objective, fidelity and purpose.
        objects: those that the description names but cannot create.
        constraints: instead of those of the search.

    Raises:
        InvalidValue: the description names objects that are not given, or its predictors need measurements of this
            machine that are not here.
        NastkError: what it describes cannot be made any more, such as a space whose file has moved.
    """
    if constraints is not None:
        description = replace(description, constraints=tuple(constraints))
    run = compose(description, objects, History())
    if run.sources is not None and not run.sources.learned:
        if not run.sources.local.complete:
            raise InvalidValue(
                "the predictors of this search learned from networks that were measured on the machine where it ran, "
                "and those measurements are not here; ask there"
            )
        run.learn_sources()
    if run.supernet is not None and run.supernet.lower:
        if not run.supernet.is_kept:
            raise InvalidValue(
                f"the predictors of this search learned from {run.supernet.kept.called}, which is not kept here; run "
                "the search again, which trains it"
            )
        run.train_supernet()
    run.history.add(list(records))
    run.searcher.tell(run.history.records("search"))
    result = Result(run.searcher, run.history)
    result.description = run.description.to_dict()
    result.settle(0)  # what was measured in the end may show that some of the front is dominated
    result.verification = None
    return result


def description_of(about: Mapping[str, Any], name: str) -> SearchDescription:
    """The description of a stored study, from what its database says of it.

    Args:
        about: of the study.
        name: of the study, for the message.

    Raises:
        DataError: it was begun by a version that did not keep the description.
    """
    try:
        return SearchDescription.from_dict(about["search"])
    except (KeyError, TypeError, NastkError) as error:
        raise DataError(
            f"the database does not say how study {name!r} was asked for: it was begun by an earlier version of nastk; "
            "run its search once more (it evaluates nothing that is there)"
        ) from error


def records_from(rows: Iterable[Mapping[str, Any]], space: SearchSpace, where: str | os.PathLike[str]) -> list[Record]:
    """The records of a ``result.json``.

    Args:
        rows: its ``history``.
        space: of its architectures.
        where: the file, for messages.

    Raises:
        DataError: a row is no record of the space.
    """
    return [_record(row, space, f"{where}, evaluation {number}") for number, row in enumerate(rows, 1)]


NUMBERS = ("value", "std", "cost")
"""Fields of a record that are NaN where JSON has null."""


def _record(row: Mapping[str, Any], space: SearchSpace, where: str) -> Record:
    known = Record.__dataclass_fields__
    try:
        fields = {name: value for name, value in row.items() if name in known and (name, value) != ("details", None)}
        fields |= {name: float("nan") if fields.get(name) is None else float(fields[name]) for name in NUMBERS}
        fidelity = fields.get("fidelity")
        fields["fidelity"] = None if fidelity is None else float(fidelity)
        arch = space.as_archs(space.parse(str(fields["arch"])))[0]
        fields["arch"] = tuple(int(v) for v in arch)
        record = Record(**fields)
    except (NastkError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{where}: {json.dumps(dict(row), default=str)[:120]} is no record: {error}") from error
    if record.status not in ("ok", "failed") or not is_purpose(record.purpose):
        raise DataError(f"{where}: status {record.status!r} or purpose {record.purpose!r} is none of a record's")
    if not isinstance(record.objective, str):
        raise DataError(f"{where}: its objective is no text")
    return record
