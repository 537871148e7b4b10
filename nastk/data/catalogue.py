"""The files that can be fetched, with pinned URL, checksum and licence, and the collections that users name."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from pathlib import Path

from nastk.errors import UnknownName


@dataclass(frozen=True)
class Source:
    """One repository at one commit.

    Args:
        name: short name.
        repo: ``owner/name`` on GitHub.
        commit: the pinned commit.
        licence: SPDX name, or "none stated".
        cite: citation key.
        citation: authors, title, venue and year of the publication to cite.
    """

    name: str
    repo: str
    commit: str
    licence: str
    cite: str
    citation: str


@dataclass(frozen=True)
class File:
    """One file of a source.

    Args:
        path: its path under ``raw/`` in the cache ("help/fbnet/arch.pt"), which is also its name.
        bytes: its size.
        sha256: checksum of its content, hexadecimal.
        upstream: its path in the repository.
        url: pinned address; None if the source offers no such file.
        source: the repository that it comes from.
    """

    path: str
    bytes: int
    sha256: str
    upstream: str
    url: str | None
    source: Source

    @property
    def origin(self) -> str:
        """``repo@commit path``, for provenance records."""
        return f"{self.source.repo}@{self.source.commit} {self.upstream}"


@dataclass(frozen=True)
class Collection:
    """Files that are fetched together, and the tables compiled from them.

    Args:
        name: what ``nastk data fetch`` takes.
        description: one line for ``nastk data list``.
        files: of any sources.
        tables: names of the tables compiled from them.
        joins: the table that these tables add columns to; "" if each is a table of its own.
    """

    name: str
    description: str
    files: tuple[File, ...]
    tables: tuple[str, ...] = ()
    joins: str = ""

    @property
    def bytes(self) -> int:
        """Size of all its files."""
        return sum(f.bytes for f in self.files)

    @property
    def licences(self) -> list[str]:
        """The licences of its files, each once."""
        return sorted({f.source.licence for f in self.files})


@dataclass(frozen=True)
class Catalogue:
    """Everything that can be fetched.

    Args:
        files: by path, which is a file's name.
        collections: by name.
    """

    files: dict[str, File]
    collections: dict[str, Collection]

    @classmethod
    def read(cls, path: str | Path) -> Catalogue:
        """Read a catalogue file."""
        return cls.parse(Path(path).read_text(encoding="utf-8"))

    @classmethod
    def parse(cls, text: str) -> Catalogue:
        """The catalogue that a TOML text describes."""
        content = tomllib.loads(text)
        found: dict[str, File] = {}
        for name, entry in content["source"].items():
            source = Source(name, *(entry[k] for k in ("repo", "commit", "licence", "cite", "citation")))
            for path, size, sha256, *other in entry["files"]:
                upstream = other[0] if other else entry["base"] + path.removeprefix(entry["prefix"])
                url = f"https://raw.githubusercontent.com/{source.repo}/{source.commit}/{upstream}"
                found[path] = File(path, size, sha256, upstream, url if entry.get("url", True) else None, source)
        collections = {
            name: Collection(
                name,
                entry["description"],
                tuple(f for p, f in found.items() if any(fnmatchcase(p, pattern) for pattern in entry["files"])),
                tuple(entry.get("tables", ())),
                entry.get("joins", ""),
            )
            for name, entry in content["collection"].items()
        }
        return cls(found, collections)

    def file(self, name: str) -> File:
        """The file of this path.

        Raises:
            UnknownName: the catalogue has no such file.
        """
        if name not in self.files:
            raise UnknownName("data file", name, self.files)
        return self.files[name]

    def select(self, names: list[str] | tuple[str, ...]) -> list[File]:
        """The files of these collections, file paths, or "all", each once.

        Raises:
            UnknownName: neither a collection nor a file.
        """
        chosen: dict[str, File] = {}
        for name in names:
            if name == "all":
                chosen.update(self.files)
            elif name in self.collections:
                chosen.update((f.path, f) for f in self.collections[name].files)
            elif name in self.files:
                chosen[name] = self.files[name]
            else:
                known = self.files if "/" in name else [*self.collections, "all"]
                raise UnknownName("data collection", name, known)
        return list(chosen.values())

    def collection_of(self, file: File) -> str:
        """Name to fetch for this file: the first collection that contains it, else its path."""
        return next((c.name for c in self.collections.values() if file in c.files), file.path)


@cache
def shipped() -> Catalogue:
    """The catalogue shipped with the package."""
    return Catalogue.parse(files("nastk.data").joinpath("catalogue.toml").read_text(encoding="utf-8"))
