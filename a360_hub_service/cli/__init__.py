"""The command line: ``a360 up | down | status | reset-password | upgrade``."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from .down import down
from .manage import reset_password, status, upgrade
from .up import up


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    arguments : sequence of str, optional
        The command line without the program; ``sys.argv`` by default.

    Returns
    -------
    int
        Exit status: 0 done, 1 failed, 2 refused with a line that says what to do.
    """
    options = _parser().parse_args(arguments)
    status_code: int = options.run(options)
    return status_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="a360", description="Run A360 on this machine.")
    commands = parser.add_subparsers(required=True, metavar="command")
    default_home = Path(os.environ.get("A360_HOME") or ".a360")

    def command(name: str, run: object, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.add_argument(
            "--home", type=Path, default=default_home, help="state folder (default: %(default)s)"
        )
        sub.set_defaults(run=run)
        return sub

    start = command("up", up, "start the platform and keep it in the foreground")
    start.add_argument("--port", type=_port, default=int(os.environ.get("A360_PORT") or 8000))
    start.add_argument("--ip", default="127.0.0.1", help="address to listen on (default: this machine only)")
    start.add_argument(
        "--ready-file",
        type=Path,
        help="write URL and process ids as JSON once ready (mode 0600; with the first run's password)",
    )
    stop = command("down", down, "stop the platform; published endpoints go on")
    stop.add_argument("--all", action="store_true", help="stop published endpoints too")
    command("status", status, "say what runs")
    command("reset-password", reset_password, "make a new password for the demo accounts and print it")
    command("upgrade", upgrade, "bring the database to this version's schema")
    return parser


def _port(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: give a number from 1 to 65535")
    return int(text)
