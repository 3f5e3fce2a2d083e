"""The flags, the reporting and the error handling that all commands share."""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, Literal, NoReturn

import click

from resnet_compile._version import __version__
from resnet_compile.errors import ResnetCompileError

CONTEXT_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": True}


SCHEMA_VERSION = 1
"""The version of the documents that --json prints; it rises when a field changes or is removed."""


@dataclass(frozen=True, slots=True)
class Report:
    """Writes a command's result to stdout and everything else to stderr.

    Attributes:
        as_json: Whether the result is printed as one JSON document.
        verbose: Whether notes are printed.
    """

    as_json: bool
    verbose: bool

    @property
    def log_severity(self) -> Literal["warning", "fatal"]:
        """The least severe message that onnxruntime writes to stderr."""
        return "warning" if self.verbose else "fatal"

    def note(self, text: str) -> None:
        """Prints a note on stderr, with -v only."""
        if self.verbose:
            click.echo(text, err=True)

    def result(self, document: Mapping[str, Any], text: Callable[[], str]) -> None:
        """Prints the result: with --json the document, typed in `resnet_compile.cli.documents`; else the text."""
        versioned = {"schema_version": SCHEMA_VERSION, **document}
        click.echo(json.dumps(_finite(versioned), indent=2) if self.as_json else text())


def _finite(value: Any) -> Any:
    """The value with null in place of NaN and infinities, which JSON cannot represent."""
    match value:
        case Mapping():
            return {key: _finite(each) for key, each in value.items()}
        case list() | tuple():
            return [_finite(each) for each in value]
        case float() if not math.isfinite(value):
            return None
        case _:
            return value


def _print_schema(ctx: click.Context, param: click.Parameter, asked: bool) -> None:
    if asked:
        # Deferred: only --json-schema needs the types of the documents.
        from resnet_compile.cli.documents import output_schema

        click.echo(json.dumps(output_schema(ctx.command.name or ""), indent=2))
        ctx.exit()


def command(name: str) -> Callable[[Callable[..., None]], click.Command]:
    """Decorates a function as a command with the flags that all commands share.

    The function's first argument is the `Report`; the others come from its own click decorators.
    """

    def decorate(function: Callable[..., None]) -> click.Command:
        @click.command(name, context_settings=CONTEXT_SETTINGS)
        @click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout, and nothing else.")
        @click.option(
            "--json-schema",
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_print_schema,
            help="Print the JSON Schema of that document.",
        )
        @click.option("-v", "--verbose", is_flag=True, help="Report the steps of the work on stderr.")
        @click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")
        @click.version_option(__version__, prog_name=name)
        @wraps(function)
        def callback(as_json: bool, verbose: bool, **own: Any) -> None:
            function(Report(as_json, verbose), **own)

        return callback

    return decorate


def means_spec(source: str) -> bool:
    """Whether an argument names a spec rather than a model, judged by its suffix, else by the file's content."""
    path = Path(source)
    if path.suffix in (".json", ".onnx") or not path.is_file():
        return path.suffix != ".onnx"
    with path.open("rb") as file:
        return file.read(64).lstrip()[:1] in (b"{", b"[", b"")


def run(cli: click.Command) -> NoReturn:
    """Runs a command and exits; an error becomes one line on stderr and the exit code of its class."""
    name = cli.name or "resnet-compile"
    debug = "--debug" in sys.argv[1:]
    # SIGTERM cleans up as an interrupt does, so that no partial file stays.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        # As click's own `main`, without its error handling and its newline on an interrupt.
        with cli.make_context(name, sys.argv[1:]) as context:
            cli.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except ResnetCompileError as error:
        _fail(name, str(error), error.exit_code, debug)
    except click.ClickException as error:
        _fail(name, f"{error.format_message()} (see {name} --help)", 2, debug)
    except (KeyboardInterrupt, click.Abort):
        _fail(name, "interrupted", 1, debug)
    except BrokenPipeError:
        # The reader of stdout has closed it; without this, Python would report that again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except MemoryError:
        _fail(name, "out of memory", 1, debug)
    except Exception as error:  # the last resort: a bug must not show users a traceback
        _fail(name, f"internal error: {type(error).__name__}: {error} (--debug shows where)", 1, debug)
    sys.exit(0)


def _fail(name: str, message: str, exit_code: int, debug: bool) -> NoReturn:
    if debug:
        traceback.print_exc()
    click.echo(f"{name}: error: {' '.join(message.splitlines())}", err=True)
    sys.exit(exit_code)
