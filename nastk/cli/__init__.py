"""The command line: a thin face over the package, one file a command.

Nothing heavy is imported before a command runs. What a user can get wrong ends as one line on standard error and exit
status 2; Ctrl-C as one line and 130; anything else is a bug and shows its traceback.
"""

from __future__ import annotations

import contextlib
import errno
import re
import signal
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated

import typer

from nastk import __version__
from nastk.cli import (
    bench,
    choices,
    data,
    device,
    export,
    front,
    listing,
    mcu,
    measure,
    predict,
    report,
    reproduce,
    search,
    study,
    train,
    zcp,
)
from nastk.cli.examples import add_examples
from nastk.cli.options import Interrupted, end_by, ending_as_ctrl_c, ignore_signals
from nastk.cli.output import forgiving, occupy_standard_descriptors, silence
from nastk.errors import DataWarning, InvalidValue, NastkError

app = typer.Typer(
    name="nastk",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Find accurate, fast neural architectures with very few trainings and very few latency measurements.",
)
app.command("search")(search.search)
app.command("train")(train.train)
app.command("export")(export.export)
app.command("measure")(measure.measure)
app.command("predict")(predict.predict)
app.command("zcp")(zcp.zcp)
app.command("mcu")(mcu.mcu)
app.command("list")(listing.list_)
app.command("report")(report.report)
app.command("front")(front.front)
app.command("choices")(choices.choices)
app.add_typer(device.app, name="device")
app.add_typer(bench.app, name="bench")
app.add_typer(reproduce.app, name="reproduce")
app.add_typer(data.app, name="data")
app.add_typer(study.app, name="study")


@app.command("help")
def _help(
    command: Annotated[
        list[str] | None, typer.Argument(metavar="[COMMAND]...", help="Of which; by default all.")
    ] = None,
) -> None:
    """Explain a command, as --help does."""
    app([*(command or ()), "--help"], prog_name="nastk", standalone_mode=False)


add_examples(app)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"nastk {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit status."""
    occupy_standard_descriptors()
    status = run(sys.argv[1:] if arguments is None else list(arguments))
    if status >= 128:
        ignore_signals()  # one more Ctrl-C while the interpreter ends would be a traceback
    raise SystemExit(status)


def run(arguments: Sequence[str]) -> int:
    """Run one command; its exit status, with errors already told on standard error."""
    with forgiving(), warnings.catch_warnings(), ending_as_ctrl_c() as asked:
        warnings.showwarning = _Warnings()
        warnings.simplefilter("always", DataWarning)
        status = _run(arguments, asked)
        if status == INTERRUPTED:  # and nothing said yet
            number = asked[0] if asked else signal.SIGINT
            return _say(end_by(number), 128 + number, prefix="")
        return status


INTERRUPTED = -1
"""What :func:`_run` answers for a command that was interrupted and has not said so."""


class _Warnings:
    """Shows each warning once, as one line, without the place in nastk's code that gives it."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def __call__(self, message: Warning | str, category: type[Warning], *where: object, **more: object) -> None:
        if not issubclass(category, (DeprecationWarning, PendingDeprecationWarning)) and str(message) not in self._told:
            self._told.add(str(message))
            _say(str(message), 0, prefix="warning: ")


def _run(arguments: Sequence[str], asked: Sequence[int]) -> int:
    try:
        _refuse_empty(arguments)
        outcome = app(list(arguments), prog_name="nastk", standalone_mode=False)
        sys.stdout.flush()
    except Interrupted as error:
        return _say(str(error), 128 + (asked[0] if asked else error.number), prefix="")
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except NastkError as error:
        return _say(str(error), 2)
    except OSError as error:
        return _refused(error)
    except SystemExit as error:  # the command line itself never raises it
        return _say(f"code of yours called sys.exit({error.code!r})", 2)
    except Exception as error:
        if not hasattr(error, "format_message"):  # not a usage error of the command-line library
            raise
        return _usage(error)
    if outcome == 130:  # the command-line library's word for Ctrl-C
        return INTERRUPTED
    return outcome if isinstance(outcome, int) else 0


def _refuse_empty(arguments: Sequence[str]) -> None:
    """Refuse a value that is empty, as of a shell variable that is not set: no option and no argument takes one, and an
    empty path would be the current folder."""
    for before, text in zip(["", *arguments], arguments, strict=False):
        option, equals, value = text.partition("=") if text.startswith("--") else (before, "=", text)
        if equals and not value.strip():
            raise InvalidValue(f"{option if option.startswith('-') else 'an argument'} is empty")


def _refused(error: OSError) -> int:
    """What the file system refuses is the user's to mend: a name that is too long, a full disk."""
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        silence(sys.stdout.fileno())
        return _say(f"disk full: {error.filename or 'cannot write the output'}", 2)
    if error.filename is None:
        raise error
    return _say(f"cannot use {error.filename}: {error.strerror or error}", 2)


def _usage(error: Exception) -> int:
    message = str(error.format_message())  # type: ignore[attr-defined]
    if type(error).__name__ == "NoArgsIsHelpError":
        typer.echo(message)
        return 0
    message = re.sub(r"\s*\(Possible options: (.+)\)", r"; did you mean \1?", message)
    message = re.sub(r"\.?\s*Did you mean (.+)\?", r"; did you mean \1?", message).rstrip(".")
    message = message[:1].lower() + message[1:]
    context = getattr(error, "ctx", None)
    cure = "" if "did you mean" in message or context is None else f" (see {context.command_path} --help)"
    return _say(message + cure, 2)


def _say(message: str, status: int, prefix: str = "error: ") -> int:
    from nastk.report.text import printable

    line = printable(" ".join(f"nastk: {prefix}{message}".split()))
    with contextlib.suppress(OSError):
        print(_printable(line), file=sys.stderr, flush=True)
    return status


def _printable(line: str) -> str:
    """A line with escapes for what no terminal should be sent: control characters, halves of characters."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in line)
