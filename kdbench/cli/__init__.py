"""The command line: one module a command, imported when its command runs, so that `--help` is quick."""

from __future__ import annotations

import contextlib
import importlib
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from kdbench.cli.interrupts import as_interrupts
from kdbench.cli.output import unbreakable
from kdbench.cli.variables import VARIABLES
from kdbench.errors import Interrupted, UsageError
from kdbench.launch.tied import tie
from kdbench.text.redaction import redacted
from kdbench.util.extras import BENCH, OF_COMMANDS, lacking
from kdbench.util.failures import exit_code_of

COMMANDS = {
    "run": ("kdbench.cli.run:run", "Train a method on a data set, report the result; resumable."),
    "runs": ("kdbench.cli.runs:app", "List, show and remove the runs of a folder."),
    "compare": ("kdbench.cli.compare:compare", "Compare finished runs: intervals, paired tests, cost, pictures."),
    "search": ("kdbench.cli.search:search", "Search a method's settings on a validation part; resumable."),
    "leaderboard": ("kdbench.cli.leaderboard:app", "Submit results, verify submissions, build the site."),
    "data": ("kdbench.cli.data:app", "List, download, prepare, verify, preview, pack or clean data."),
    "list": ("kdbench.cli.listing:list_parts", "List methods, data sets, components and suites."),
    "describe": ("kdbench.cli.describe:describe", "Describe a component, method, data set or suite."),
    "check": ("kdbench.cli.check:check", "Run the conformance tests of a component, method or data set."),
    "explain": ("kdbench.cli.explain:explain", "Show what a run has learnt, in figures and numbers."),
    "export": ("kdbench.cli.export:export", "Export a run's student, to be used without the bench."),
    "predict": ("kdbench.cli.predict:predict", "Predict recordings with an exported student."),
    "stream": ("kdbench.cli.stream:stream", "Watch a recording or a camera with an exported student."),
    "new": ("kdbench.cli.new:new", "Create a package of your own: component, method or data set."),
    "doctor": ("kdbench.cli.doctor:doctor", "Check the installation, the data and the folders."),
}


class LazyGroup(TyperGroup):
    """Shows every command's help line without importing it; imports the one that is called."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, (_, summary) in COMMANDS.items():
            self.add_command(TyperCommand(name, help=summary))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Finds the command's name, then imports the command behind it."""
        name, _, rest = super().resolve_command(ctx, args)
        return name, load(COMMANDS[str(name)][0]), rest

    def invoke(self, ctx: Any) -> Any:
        """Runs the command; an interrupt becomes one line and exit code 130."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise Interrupted("interrupted") from error
        except Exception as error:
            # Typer's own errors quote the word that cannot be used, which may be an address.
            if hasattr(error, "format_message"):
                vars(error)["message"] = redacted(vars(error)["message"])
            raise


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    epilog="Environment variables:\n\n" + "\n\n".join(f"{name}: {meaning}" for name, meaning in VARIABLES.items()),
    context_settings={"help_option_names": ["-h", "--help"]},
)


def load(target: str) -> Any:
    """Imports a command, `module:attribute`, as the click command that runs it."""
    module, _, attribute = target.partition(":")
    loaded = getattr(importlib.import_module(module), attribute)
    if not isinstance(loaded, typer.Typer):
        single = typer.Typer(add_completion=False)
        single.command()(loaded)
        loaded = single
    command = typer.main.get_command(loaded)
    _fill(command)
    return command


def _fill(command: Any) -> None:
    """Joins the lines of each paragraph of a command's help, so that a terminal breaks them once."""
    if command.help:
        command.help = "\n\n".join(" ".join(part.split()) for part in command.help.split("\n\n"))
    for child in getattr(command, "commands", {}).values():
        _fill(child)


def _version(wanted: bool) -> None:
    if wanted:
        from kdbench import __version__

        typer.echo(f"kdbench {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; allowed anywhere on the line.")
    ] = False,
    plugin: Annotated[
        list[Path] | None,
        typer.Option(help="A Python file with components of your own; repeatable; allowed anywhere on the line."),
    ] = None,
) -> None:
    """Benchmark cross-modal distillation: wearable sensors teach a video network, under identical conditions."""


def main(arguments: list[str] | None = None) -> NoReturn:
    """Runs the command line and leaves the process with its exit code.

    Exit codes: 0 done, 1 a failed run or an unexpected error, 2 usage, 3 missing or broken data, 130 an interrupt, by
    Ctrl-C, SIGTERM or SIGHUP.

    Args:
        arguments: What follows the program's name; the process's own by default.
    """
    tie()
    given = sys.argv[1:] if arguments is None else arguments
    # Taken out here, so that every command takes them, before and after its name.
    wanted = [argument for argument in given if argument != "--debug"]
    debug = len(wanted) < len(given)
    with unbreakable() as streams, as_interrupts():
        code = _code_of(wanted, debug=debug)
        sys.stdout.flush()
        if streams.lost is not None:
            sys.stderr.write(f"error: what was printed is lost: {streams.lost.strerror or streams.lost}\n")
            # The results of these lie in their folders, and are whole.
            code = code or int(not {"run", "search"} & set(wanted[:1]))
    sys.exit(code)


def _code_of(wanted: list[str], *, debug: bool) -> int:
    """Runs a command; returns its exit code, and says what went wrong."""
    try:
        rest, plugins = _plugins(wanted)
        with _loaded(plugins):
            typer.main.get_command(app).main(args=rest, prog_name="kdbench")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except ModuleNotFoundError as error:
        command = next((word for word in wanted if word in COMMANDS), "")
        missing = lacking(error, f"kdbench {command}".strip(), OF_COMMANDS.get(command, BENCH))
        return exit_code_of(missing or error, debug=debug)
    except (Exception, KeyboardInterrupt) as error:
        return exit_code_of(error, debug=debug)
    return 0


def _plugins(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Takes `--plugin FILE` and `--plugin=FILE` out of the arguments."""
    rest, files = [], []
    words = iter(arguments)
    for word in words:
        option, equals, file = word.partition("=")
        if option != "--plugin":
            rest.append(word)
            continue
        file = file if equals else next(words, "")
        if not file or file.startswith("-"):
            raise UsageError("--plugin needs a Python file", hint="For example: kdbench list --plugin my_loss.py")
        files.append(file)
    return rest, files


def _loaded(plugins: list[str]) -> contextlib.AbstractContextManager[None]:
    if not plugins:
        return contextlib.nullcontext()
    from kdbench.registry.file import loaded

    return loaded(plugins)
