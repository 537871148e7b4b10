"""What runs in a worker process. Imports nothing heavy before its surroundings are set."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import Any

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
"""Environment variables by which numerical libraries choose their number of threads when they are loaded."""

_objectives: dict[str, tuple[Any, ...]] = {}
"""What was sent, by its digest: kept, so that what an oracle loads once is loaded once a process."""


def start(log: str, variables: dict[str, str], threads: int | None, paths: Sequence[str], folder: str) -> None:
    """Surroundings of the process: a session of its own, its output in a file, the parent's folder and modules.

    Args:
        log: file to which everything that is printed is added, by programs that it calls too.
        variables: of the environment.
        threads: of numerical libraries, unless the environment says how many.
        paths: where modules are looked for, beside the usual.
        folder: to work in, where it exists.
    """
    if hasattr(os, "setsid"):
        os.setsid()  # Ctrl-C in the terminal is for the coordinator, and the group can be ended as one
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    for stream in (1, 2):
        os.dup2(file, stream)
    os.close(file)
    for text in (sys.stdout, sys.stderr):
        if hasattr(text, "reconfigure"):
            text.reconfigure(line_buffering=True)  # the last line before a crash is the one that is wanted
    os.environ.update(variables)
    sys.path += [path for path in paths if path not in sys.path]
    if os.path.isdir(folder):
        os.chdir(folder)
    if threads is not None and "OMP_NUM_THREADS" not in os.environ:
        os.environ.update(dict.fromkeys(THREADS, str(threads)))
        if "torch" in sys.modules:  # a script that imports it at its top, which is imported here too
            sys.modules["torch"].set_num_threads(threads)


def _end_with_parent() -> None:
    """End this process and its children when the parent has died: nobody would record what they find."""
    from multiprocessing import parent_process

    parent = parent_process()
    if parent is not None:
        parent.join()
        if hasattr(os, "killpg"):
            os.killpg(0, signal.SIGKILL)
        os._exit(1)


def take_in(digest: str, content: bytes) -> None:
    """Keep objectives for :func:`evaluate`."""
    import pickle

    _objectives[digest] = pickle.loads(content)


def evaluate(digest: str, archs: Any, fidelity: float | None, purpose: Any) -> tuple[Any, list[tuple[type, str]]]:
    """The first of these objectives on architectures ``(n, d)``, and what the same calls tell of the others.

    Returns:
        The records, or an error that ends the run; and warnings of nastk's own: where this process prints is not where
        the user looks.
    """
    import gc
    import warnings

    from nastk.errors import DataWarning, NastkError
    from nastk.evaluation import evaluate_calls, failed_record

    objective, *others = _objectives[digest]
    found: Any
    with warnings.catch_warnings(record=True) as caught:
        try:
            found = evaluate_calls(objective, others, archs, fidelity, purpose)
        except NastkError as error:
            found = error
        except KeyboardInterrupt:  # the function's own: nobody can press Ctrl-C here
            found = [[failed_record(objective, arch, fidelity, purpose, "KeyboardInterrupt")] for arch in archs]
    told = []
    for warning in caught:
        if issubclass(warning.category, DataWarning):
            told.append((warning.category, str(warning.message)))
        else:
            warnings.showwarning(warning.message, warning.category, warning.filename, warning.lineno)
    if isinstance(found, NastkError) or any(record.status == "failed" for records in found for record in records):
        gc.collect()  # tensors that the failed attempt left behind may be why there was no memory
    return found, told
