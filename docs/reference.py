"""Writes the reference of the notebook kit from docstrings and type hints: ``make docs``."""

import sys
from importlib import import_module
from pathlib import Path

import pdoc

PACKAGES = ("a360mdk", "a360runtime")
# Beside what people import, where its inherited members are described.
MODULES = (*PACKAGES, *(f"a360mdk.{name}" for name in ("base", "default_repo", "definitions", "exceptions")))


def write(folder: Path) -> None:
    """Write the pages of all modules that people import from.

    Args:
        folder: where to; made if missing.
    """
    for name in PACKAGES:
        # They import on first use; pdoc looks at what is there.
        package = import_module(name)
        for public in package.__all__:
            setattr(package, public, getattr(package, public))
    pdoc.render.configure(docformat="google", footer_text="A360")
    pdoc.pdoc(*MODULES, output_directory=folder)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
