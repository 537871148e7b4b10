"""The processor's energy counters, as Linux shows them (RAPL: Intel's and AMD's running average power limit)."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from nastk.errors import NastkError, Unsupported

POWERCAP = Path("/sys/class/powercap")
"""Folder in which the kernel shows its counters."""

_PACKAGE = re.compile(r"intel-rapl:\d+")
"""Folders of whole packages and of the platform (AMD's have this name too). Those of their parts, intel-rapl:0:1, are
within the package's energy; intel-rapl-mmio:0 is another way to the same counter."""

INSTEAD = 'what works instead is --device with one whose command answers "energy", or one of a table that has energies'


@dataclass(frozen=True)
class Domain:
    """One counter of microjoules, which begins at 0 again after `wraps_at`."""

    name: str
    file: Path
    wraps_at: int

    def read(self) -> int:
        return _number(self.file)

    def since(self, before: int) -> int:
        """Microjoules since a reading, of which the counter may have begun anew once."""
        spent = self.read() - before
        return spent if spent >= 0 else spent + self.wraps_at + 1


class Rapl:
    """The counters of all packages (sockets) together.

    Args:
        root: folder in which the kernel shows them.

    Attributes:
        domains: one a package.

    Raises:
        Unsupported: the kernel shows none.
        NastkError: this user may not read them.
    """

    def __init__(self, root: str | os.PathLike[str] = POWERCAP):
        root = Path(root)
        try:
            folders = sorted(folder for folder in root.iterdir() if _PACKAGE.fullmatch(folder.name))
        except OSError:
            folders = []
        named = [(folder, _text(folder / "name")) for folder in folders]
        packages = [(folder, name) for folder, name in named if name.startswith("package")]
        if not packages:
            raise Unsupported(
                f"energy cannot be measured here: the kernel shows no energy counter of the processor (RAPL) in "
                f"{root}, as in most virtual machines and on processors without one; {INSTEAD}"
            )
        self.domains = [
            Domain(name, folder / "energy_uj", _number(folder / "max_energy_range_uj")) for folder, name in packages
        ]
        self.read()

    def read(self) -> list[int]:
        """A reading of each counter, for :meth:`since`."""
        return [domain.read() for domain in self.domains]

    def since(self, before: list[int]) -> float:
        """Millijoules of all packages since a reading."""
        return sum(domain.since(then) for domain, then in zip(self.domains, before, strict=True)) / 1000


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except PermissionError as error:
        raise NastkError(
            f"energy: this user may not read {file}; run as root, or let everyone read it: "
            "sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise NastkError(f"energy: {file} cannot be read: {error}") from error


def _number(file: Path) -> int:
    text = _text(file)
    if not text.isdecimal():
        raise NastkError(f"energy: {file} holds {text[:40]!r}, and not a number of microjoules")
    return int(text)
