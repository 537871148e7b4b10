"""Stands in for adb: a folder is the phone, and its benchmark program computes a time from the size of the network.

adb push FILE THERE | adb shell rm THERE | adb shell PROGRAM --model THERE --threads N
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

PHONE = Path(tempfile.gettempdir(), f"fake-phone-of-{os.getuid()}")


def microseconds(size: int, threads: int) -> float:
    """As of a phone that reads every weight of a file of this many bytes."""
    return 300 + size / 700 / threads**0.7


if __name__ == "__main__":
    what, *words = sys.argv[1:]
    PHONE.mkdir(mode=0o700, exist_ok=True)
    if what == "push":
        shutil.copyfile(words[0], PHONE / Path(words[1]).name)
        print(f"{words[0]}: 1 file pushed")
    elif what == "shell" and words[0] == "rm":
        (PHONE / Path(words[1]).name).unlink()
    elif what == "shell":
        options = dict(zip(words[1::2], words[2::2], strict=True))
        size = (PHONE / Path(options["--model"]).name).stat().st_size
        print("STARTING! Loaded the model, 100 runs")
        print(f"inference: median {microseconds(size, int(options['--threads'])):.1f}")
    else:
        sys.exit(f"adb: unknown command {what}")
