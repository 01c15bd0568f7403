"""Run the demo: a model from data to a protected endpoint, through the doors people use."""

import argparse
import os
import signal
import sys
import threading
from pathlib import Path

import httpx

from .errors import DemoError
from .notebooks import CellFailed
from .platform import start_or_attach
from .screening import Screening
from .steps import Steps

EPILOGUE = "State lives in --home (or A360_HOME); running again over the same home makes a new project."


def main(arguments: list[str] | None = None) -> int:
    """Run the demo and return the exit code: 0 done, 1 failed on the way, 2 could not begin."""
    options = _parser().parse_args(arguments)
    # `kill` ends the demo as Ctrl-C does: with everything it started stopped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return _run(options, Steps())
    except CellFailed as failed:
        print(failed.traceback, file=sys.stderr)
        return _tell(failed)
    except DemoError as error:
        return _tell(error)
    except httpx.HTTPError as error:
        return _tell(DemoError(f"A call failed: {error}", "log/hub.log of the state folder tells more."))
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130


def _run(options: argparse.Namespace, steps: Steps) -> int:
    home = options.home.absolute()
    with steps.step("Start the platform") as step:
        platform = start_or_attach(home, options.port, step.progress)
        step.result = platform.url
    demo = Screening(platform, steps, options.engine)
    try:
        if platform.reset:
            steps.line(
                "          Only the old password's hash is kept, so `a360 reset-password` made a new one."
            )
        demo.run()
        steps.line(f"{steps.total:6.1f} s  in all\n")
        steps.line(demo.summary())
        if not options.exit:
            steps.line("\nEverything stays up until Ctrl-C.")
            threading.Event().wait()
    except KeyboardInterrupt:
        if not demo.finished:
            raise
        steps.line()
    finally:
        _stop(demo, steps)
    return 0


def _stop(demo: Screening, steps: Steps) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave half of it running
    with steps.step("Stop what the demo started"):
        demo.clean_up()
        demo.platform.stop()


def _tell(error: DemoError) -> int:
    print(f"demo: {error}", file=sys.stderr)
    if error.hint:
        print(f"      {error.hint}", file=sys.stderr)
    return error.code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description=__doc__, epilog=EPILOGUE)
    home = Path(os.environ.get("A360_HOME") or ".a360")
    parser.add_argument(
        "--exit", action="store_true", help="stop everything at the end instead of staying up"
    )
    parser.add_argument("--home", type=Path, default=home, help="state folder (default: %(default)s)")
    parser.add_argument(
        "--port", type=int, help="where the platform listens (default: 8000 or the next free port)"
    )
    parser.add_argument(
        "--engine",
        choices=("auto", "docker", "none"),
        default="auto",
        help="package as a container image or as a folder (default: image when a Docker engine answers)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
