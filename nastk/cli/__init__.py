"""The command line: a thin face over the package, one file a command.

Nothing heavy is imported before a command runs. What a user can get wrong ends as one line on standard error and exit
status 2; Ctrl-C as one line and 130; anything else is a bug and shows its traceback.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer

from nastk import __version__
from nastk.cli import bench, data, listing, measure, predict, report, reproduce, search, zcp
from nastk.cli.options import Interrupted
from nastk.errors import DataWarning, NastkError

app = typer.Typer(
    name="nastk",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Find accurate, fast neural architectures with very few trainings and very few latency measurements.",
)
app.command("search")(search.search)
app.command("measure")(measure.measure)
app.command("predict")(predict.predict)
app.command("zcp")(zcp.zcp)
app.command("list")(listing.list_)
app.command("report")(report.report)
app.add_typer(bench.app, name="bench")
app.add_typer(reproduce.app, name="reproduce")
app.add_typer(data.app, name="data")


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
    status = run(sys.argv[1:] if arguments is None else list(arguments))
    raise SystemExit(status)


def run(arguments: Sequence[str]) -> int:
    """Run one command; its exit status, with errors already told on standard error."""
    try:
        with _warnings_on_one_line():
            outcome = app(list(arguments), prog_name="nastk", standalone_mode=False)
        sys.stdout.flush()
    except Interrupted as error:
        return _say(str(error), 130, prefix="")
    except (KeyboardInterrupt, typer.Abort):
        return _say("interrupted", 130, prefix="")
    except NastkError as error:
        return _say(str(error), 2)
    except BrokenPipeError:
        _silence(sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno not in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
            raise
        _silence(sys.stdout.fileno())
        return _say(f"disk full: {error.filename or 'cannot write the output'}", 2)
    except Exception as error:
        if not hasattr(error, "format_message"):  # not a usage error of the command-line library
            raise
        return _usage(error)
    if outcome == 130:
        return _say("interrupted", 130, prefix="")
    return outcome if isinstance(outcome, int) else 0


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


@contextlib.contextmanager
def _warnings_on_one_line() -> Iterator[None]:
    """Tell each of nastk's own warnings once, on a line of its own, without the place in the program."""
    told: set[str] = set()
    with warnings.catch_warnings():
        warnings.simplefilter("always", DataWarning)
        others = warnings.showwarning

        def show(message: Any, category: type[Warning], *place: Any, **more: Any) -> None:
            if not issubclass(category, DataWarning):
                others(message, category, *place, **more)
            elif str(message) not in told:
                told.add(str(message))
                _say(str(message), 0, prefix="warning: ")

        warnings.showwarning = show
        yield


def _say(message: str, status: int, prefix: str = "error: ") -> int:
    line = " ".join(f"nastk: {prefix}{message}".split())
    line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)  # a file's text may steer a terminal
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr, flush=True)
    return status


def _silence(descriptor: int) -> None:
    """Send what is still in the buffer nowhere, so that the interpreter's own flush at exit has nothing to say."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
