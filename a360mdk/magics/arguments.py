"""What the magics take, as argparse parsers; help and tab completion read it from here."""

import argparse
from collections.abc import Iterator
from typing import Any, NoReturn

from IPython.core.error import UsageError


class Told(Exception):
    """Help was asked for and has been printed."""


class Parser(argparse.ArgumentParser):
    """A parser that ends no kernel: help raises :class:`Told`, a mistake IPython's UsageError."""

    def __init__(self, **options: Any) -> None:
        shape = argparse.RawDescriptionHelpFormatter
        super().__init__(**{"formatter_class": shape, "allow_abbrev": False, **options})

    def error(self, message: str) -> NoReturn:
        """Say in one line what is wrong, and where help is."""
        raise UsageError(f"{self.prog}: {message}\n{self.prog} --help shows what it takes.")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """End the call, not the kernel."""
        raise Told


class _Into(argparse.Action):
    """Collects ``NAME=VALUE``."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        name, mark, value = str(values).partition("=")
        if not mark:
            parser.error(f"argument {option_string}: {name!r} is not of the form NAME=VALUE")
        setattr(namespace, self.dest, {**getattr(namespace, self.dest), name: value})


def a360() -> Parser:
    """Return the parser of ``%a360``."""
    parser = Parser(prog="%a360", description="The project of this workspace, from a cell.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)

    def add(name: str, text: str, more: str = "") -> Parser:
        made: Parser = commands.add_parser(
            name, prog=f"%a360 {name}", help=text, description=text + ("\n\n" + more if more else "")
        )
        return made

    status = add("status", "Project, data repo, model, open runs, endpoint.")
    _model(status)
    datasets = add("datasets", "List data sets; the value of the cell is a DataFrame.")
    datasets.add_argument("subpath", nargs="?", default="", help="a folder of the data repo")
    datasets.add_argument("--recursive", action="store_true", help="with all folders below")
    _runs(add("runs", "List an experiment's runs; the value of the cell is a DataFrame."))
    _capture(add("capture", "Run a notebook headless as a run of an experiment.", _CAPTURING))
    _package(add("package", "Package the model's approved final run.", _WAITING))
    _publish(add("publish", "Publish the model's package as an endpoint.", _KEY + "\n" + _WAITING))
    return parser


def a360_run() -> Parser:
    """Return the parser of ``%%a360_run``."""
    parser = Parser(
        prog="%%a360_run",
        description="Run the cell as a run of an experiment; in the cell it is the variable `run`.\n"
        "What the options name is looked up when the cell has ended. A cell that fails leaves a failed run.",
    )
    parser.add_argument(
        "experiment", metavar="EXPERIMENT", help="a variable that holds one, or its name in the current model"
    )
    parser.add_argument("--hyperparameters", metavar="DICT", help="variable: a dict, logged as such")
    parser.add_argument(
        "--metrics", metavar="NAME", nargs="+", default=[], help="variables: numbers, or dicts of numbers"
    )
    parser.add_argument(
        "--model", metavar="NAME", dest="fitted", help="variable: the fitted model, logged as such"
    )
    return parser


def commands(parser: argparse.ArgumentParser) -> dict[str, Parser]:
    """Return the parsers of a parser's commands, by name; empty when it has none."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def options(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.Action]]:
    """Yield a parser's options with their actions."""
    for action in parser._actions:
        for name in action.option_strings:
            if name.startswith("--"):
                yield name, action


_WAITING = "With --wait the job's log is shown as it happens, and the cell ends with the job."
_CAPTURING = (
    "It goes on when this notebook is closed; its outputs are kept with the run.\n"
    "With --wait the cell ends with the notebook, or fails with its reason."
)
_KEY = "The API key is given out this once. It is put into a variable, not into the saved notebook."


def _model(parser: Parser) -> None:
    parser.add_argument("--model", metavar="NAME", help="the current model, a360ai.model, if left out")
    parser.add_argument("--version", metavar="VERSION", help="of --model; the newest if left out")


def _runs(parser: Parser) -> None:
    parser.add_argument(
        "experiment", nargs="?", help="variable, or name in the current model; the current one if left out"
    )
    parser.add_argument("--sort", metavar="COLUMN", help="largest first, for example metric_test_score")
    parser.add_argument("--ascending", action="store_true", help="smallest first, as errors and losses want")
    parser.add_argument("--top", metavar="N", type=int, help="only so many")
    parser.add_argument("--failed", action="store_true", help="with runs that failed or are open")


def _capture(parser: Parser) -> None:
    parser.add_argument("notebook", metavar="NOTEBOOK", help="the file, as it is now")
    parser.add_argument(
        "--experiment", help="variable, or name in the current model; the current one if left out"
    )
    parser.add_argument(
        "--parameter",
        metavar="NAME=VALUE",
        action=_Into,
        default={},
        help="a number, text, or other JSON; may come several times",
    )
    parser.add_argument(
        "--time-limit", metavar="SECONDS", type=float, help="stop it then; no limit if left out"
    )
    parser.add_argument("--wait", action="store_true", help="until it has ended")


def _package(parser: Parser) -> None:
    _model(parser)
    parser.add_argument("--git", metavar="URL", required=True, help="repository of the deployment script")
    parser.add_argument("--script", metavar="PATH", required=True, help="the script in it, like predict.py")
    parser.add_argument("--branch", help="branch or tag; the default branch if left out")
    parser.add_argument("--function", default="predict", help="function of the script (predict)")
    parser.add_argument("--input-format", choices=("JSON", "Text"), default="JSON")
    parser.add_argument(
        "--validation-input", metavar="TEXT", help="a call to try; text, or a variable that holds it"
    )
    parser.add_argument("--validation-output", metavar="TEXT", help="its answer; text, or a variable")
    parser.add_argument("--dependencies", metavar="PATH", default="requirements.txt")
    parser.add_argument("--base-image", metavar="IMAGE")
    parser.add_argument(
        "--wrapper", metavar="NAME", help="flask (HTTP) or mqtt (a broker); flask if left out"
    )
    parser.add_argument("--listen-topic", metavar="TOPIC", help="of mqtt: where requests come")
    parser.add_argument("--respond-topic", metavar="TOPIC", help="of mqtt: where answers go")
    parser.add_argument("--builder", help="the operator's choice if left out")
    parser.add_argument("--wait", action="store_true", help="show the log, and end with the result")


def _publish(parser: Parser) -> None:
    _model(parser)
    parser.add_argument("--replicas", metavar="N", type=int, default=1)
    parser.add_argument("--target", help="where to run; the operator's choice if left out")
    parser.add_argument("--credential", metavar="NAME", help="of the broker, for the target clearblade")
    parser.add_argument("--cpu-request", metavar="CORES", type=float, default=0.1, help="per replica (0.1)")
    parser.add_argument("--cpu-limit", metavar="CORES", type=float, default=1.0, help="per replica (1)")
    parser.add_argument("--memory-request", metavar="GB", type=float, default=0.25, help="(0.25)")
    parser.add_argument("--memory-limit", metavar="GB", type=float, default=1.0, help="(1)")
    parser.add_argument(
        "--env",
        metavar="NAME=VALUE",
        action=_Into,
        default={},
        help="of the replicas; may come several times",
    )
    parser.add_argument(
        "--key-into", metavar="NAME", default="api_key", help="variable that gets the API key (api_key)"
    )
    parser.add_argument("--show-key", action="store_true", help="print the key as well, into this notebook")
    parser.add_argument("--wait", action="store_true", help="show the log, and end with the result")
