"""A search that has ended, read from the folder that it wrote: its front, its space, and how it was asked for."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nastk.errors import DataError, InvalidValue, NastkError, UnknownName
from nastk.evaluation import Kind
from nastk.result import FILE, check_schema, read_content
from nastk.run import SearchDescription, space_of_search
from nastk.run.names import ACCURACIES
from nastk.search.base import Constraint
from nastk.spaces.base import Archs, SearchSpace

if TYPE_CHECKING:
    import pandas as pd

    from nastk.data.images import ImageData
    from nastk.result import Result

KINDS: tuple[Kind, ...] = ("measured", "table", "estimate", "computed")


@dataclass(frozen=True)
class FinishedObjective:
    """One objective of a search.

    Args:
        name: of its columns in the front.
        unit, direction, source: of its oracle.
        kind: of the values of its oracle; those of single architectures may be estimates (column ``<name>_source``).
        networks: folder in which its trainings kept files of their networks, each in a folder of its own; None where
            none did.
    """

    name: str
    unit: str
    direction: str
    kind: Kind
    source: str = ""
    networks: Path | None = None


class FinishedSearch:
    """What a search left: its front, and all that makes its networks again.

    Args:
        content: of its ``result.json``, checked.
        path: of that file; None where the search has just ended and is still in memory.
        space: name or ``file.py:Class`` of the space, where it is no longer what the search called it; or the space.

    Attributes:
        path, content: as given.
        description: how the search was asked for.
        objectives: in their order.
        front: one row an architecture, with the columns of :attr:`nastk.Result.front`.
        networks: folder in which its trainings kept files of their networks; None where none did.
    """

    def __init__(self, content: Mapping[str, Any], path: Path | None = None, space: str | SearchSpace | None = None):
        self.path, self.content = path, dict(content)
        self._given = space
        self.description = self._read_description()
        self.objectives = tuple(self._read_objective(entry) for entry in self._list("objectives"))
        if not self.objectives:
            raise DataError(f"{self.called} has no objectives")
        self.front = self._read_front()

    @classmethod
    def of(cls, result: Result) -> FinishedSearch:
        """A search that has just ended, with its own space."""
        from nastk.report.rows import without_nan

        return cls(without_nan(result.to_dict()), None, result.space)

    @property
    def called(self) -> str:
        """What messages call it."""
        return "the result" if self.path is None else str(self.path)

    # ---- reading

    def _list(self, key: str) -> list[Mapping[str, Any]]:
        found = self.content.get(key)
        if not isinstance(found, list) or not all(isinstance(entry, Mapping) for entry in found):
            raise DataError(f"{self.called} is damaged or not of nastk search: {key!r} is no list of objects")
        return found

    def _read_description(self) -> SearchDescription:
        asked = self.content.get("search")
        if not isinstance(asked, Mapping):
            raise DataError(f"{self.called} does not say what was searched ('search'); was it written by nastk search?")
        try:
            found = SearchDescription.from_dict(asked)
        except (NastkError, TypeError, ValueError) as error:
            raise DataError(f"{self.called} is damaged: {error}") from error
        entries = [*found.objectives]
        if not isinstance(found.space, str) or not all(
            isinstance(e, Mapping) and isinstance(e.get("oracle"), Mapping) for e in entries
        ):
            raise DataError(f"{self.called} is damaged: its search has no space or objectives that can be read")
        return found

    def _read_objective(self, entry: Mapping[str, Any]) -> FinishedObjective:
        name, direction = entry.get("name"), entry.get("direction")
        if not isinstance(name, str) or direction not in ("min", "max"):
            raise DataError(f"{self.called} is damaged: an objective has no name or no direction")
        kind = entry.get("kind", "measured" if entry.get("expensive") else "computed")
        if kind not in KINDS:
            raise DataError(f"{self.called} is damaged: the objective {name} is {kind!r}")
        place = entry.get("networks")
        return FinishedObjective(
            name,
            str(entry.get("unit") or ""),
            direction,
            kind,
            str(entry.get("source") or ""),
            self._place(place) if isinstance(place, str) and place else None,
        )

    def _place(self, folder: str) -> Path:
        """A folder of networks, which may have been moved together with the file."""
        written = Path(folder)
        if self.path is None or written.is_dir():
            return written
        return self.path.parent.joinpath(*written.parts[-2:])  # history.db-networks/<objective>

    def _read_front(self) -> pd.DataFrame:
        import pandas as pd

        rows = self._list("front")
        table = pd.DataFrame(rows)
        if rows and "arch" not in table:
            raise DataError(f"{self.called} is damaged: its front has no architectures")
        for objective in self.objectives:
            if rows and objective.name not in table:
                raise DataError(f"{self.called} is damaged: its front has no {objective.name}")
            if rows:
                try:
                    table[objective.name] = table[objective.name].astype(float)
                except (TypeError, ValueError):
                    raise DataError(f"{self.called} is damaged: {objective.name} of its front is no number") from None
        return table

    @property
    def networks(self) -> Path | None:
        return next((o.networks for o in self.objectives if o.networks is not None), None)

    @property
    def build(self) -> dict[str, Any]:
        """Options with which the trainings built the networks (:meth:`nastk.SearchSpace.build`), such as classes."""
        entries = (entry["oracle"].get("build") for entry in self.description.objectives)
        return next((dict(found) for found in entries if isinstance(found, Mapping)), {})

    @property
    def training(self) -> Mapping[str, Any] | None:
        """Facts of the oracle that trained on images (:class:`nastk.oracles.Training`); None where none did.

        Raises:
            DataError: they do not say on which, or how.
        """
        entries = (entry["oracle"] for entry in self.description.objectives)
        found = next((facts for facts in entries if facts.get("oracle") == "training"), None)
        if found is not None and not (isinstance(found.get("data"), str) and isinstance(found.get("recipe"), Mapping)):
            raise DataError(f"{self.called} is damaged: its trainings have no data or no recipe")
        return found

    def images(self) -> ImageData | None:
        """The images that the search trained on, read again; None where it trained on none.

        Raises:
            NastkError: they cannot be read, or are others now.
        """
        from nastk.data.images import read_again

        facts = self.training
        return None if facts is None else read_again(facts["data"], facts.get("image_size"), facts.get("hash"))

    @cached_property
    def space(self) -> SearchSpace:
        """The space that was searched, as the search made it.

        Raises:
            NastkError: it cannot be made, such as one whose file is not here any more.
        """
        if isinstance(self._given, SearchSpace):
            return self._given
        description = self.description
        if self._given is not None:
            from dataclasses import replace

            description = replace(description, space=self._given)
        try:
            return space_of_search(description)
        except UnknownName as error:
            raise InvalidValue(
                f"{self.called} is of the space {description.space!r}, which is no name here ({error}); say where it "
                "is: --space my_file.py:Class"
            ) from error
        except InvalidValue as error:
            raise InvalidValue(
                f"the space of {self.called} cannot be made: {error}; relative paths begin where the search ran: go "
                "there, or say where it is now: --space my_file.py:Class"
            ) from error

    # ---- choosing

    def arch(self, text: str | int | Sequence[int] | Archs) -> Archs:
        """One architecture ``(d,)`` of the space: its text form, index, or integers, as ``nastk measure`` reads them.

        Raises:
            InvalidArchitecture: no architecture of the space.
        """
        if isinstance(text, str) and text.strip().isascii() and text.strip().isdigit() and self.space.d > 1:
            text = int(text)
        return self.space.as_archs(text)[0]

    def pick(self, text: str) -> pd.Series:
        """The row of the front that is the best by an objective, among those that keep some limits.

        Args:
            text: names of objectives and limits, separated by commas: ``"accuracy, latency<=8"``. Of rows that are
                equal by the first objective, the best by the next one.

        Raises:
            InvalidValue: no objective, or nothing of the front keeps the limits; the message says what there is.
            UnknownName: no such objective.
        """
        parts = [part.strip() for part in text.split(",") if part.strip()]
        limits = [Constraint.parse(part) for part in parts if "<" in part or ">" in part]
        wanted = [self.objective(part) for part in parts if "<" not in part and ">" not in part]
        if not wanted:
            raise InvalidValue(
                f"pick {text!r}: say what is to be the best, such as {self.objectives[0].name!r} or "
                f"'{self.objectives[0].name}, {self.objectives[-1].name}<=8'"
            )
        front = self.front
        if not len(front):
            raise InvalidValue(f"{self.called} has an empty front: there is nothing to pick")
        for limit in limits:
            of = self.objective(limit.objective)
            kept = front[limit.violation(front[of.name]) <= 0]  # not of an unknown value
            if not len(kept):
                have = front[of.name].min(), front[of.name].max()
                among = "" if limit is limits[0] else " that keeps the other limits"
                unit = f" {of.unit}" if of.unit else ""
                raise InvalidValue(
                    f"pick {text!r}: nothing of the front{among} keeps {limit}; {of.name} is {have[0]:.4g} to "
                    f"{have[1]:.4g}{unit} there"
                )
            front = kept
        known = front[front[wanted[0].name].notna()]
        if not len(known):
            raise InvalidValue(f"pick {text!r}: {wanted[0].name} of these architectures is not known")
        order = known.sort_values(
            [o.name for o in wanted], ascending=[o.direction == "min" for o in wanted], kind="stable"
        )
        return order.iloc[0]

    def objective(self, name: str) -> FinishedObjective:
        """The objective of this name; "accuracy" and "latency" also stand for the only one of their kind.

        Raises:
            UnknownName: there is none.
        """
        names = {o.name: o for o in self.objectives}
        if name in names:
            return names[name]
        alike = [o for o in self.objectives if o.name.startswith(f"{name}-")]
        if name == "accuracy":
            alike += [o for o in self.objectives if o.name in ACCURACIES]
        if len(alike) == 1:
            return alike[0]
        raise UnknownName("objective", name, names)


def read_search(path: str | os.PathLike[str], space: str | SearchSpace | None = None) -> FinishedSearch:
    """The search whose folder (``nastk-out``), or ``result.json``, this is.

    Args:
        path: of the folder or the file.
        space: see :class:`FinishedSearch`.

    Raises:
        DataError: there is no such file, or it is not of ``nastk search``.
    """
    file, content = read_content(path)
    if not isinstance(content, dict):
        raise DataError(f"{file} is not a result of nastk search; give the path of {FILE}, or of its folder")
    check_schema(content, file)
    return FinishedSearch(content, Path(os.path.abspath(file)), space)
