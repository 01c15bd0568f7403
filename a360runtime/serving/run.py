"""Start of a package, copied to its root: ``python -I -S run.py --port 8080``.

Only the standard library and this package's own ``site`` folder can be imported.
"""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


def start() -> int:
    """Leave whatever environment Python came with behind, then hand over to the runtime."""
    if not (sys.flags.isolated and sys.flags.no_site):
        command = [sys.executable, "-I", "-S", os.path.abspath(__file__), *sys.argv[1:]]
        os.execv(sys.executable, command)  # noqa: S606
    # A package is never written to: its files are shared with a cache, and an image is read-only.
    sys.dont_write_bytecode = True
    sys.path.append(os.path.join(HERE, "site"))
    from a360runtime.serving import cpus

    threads = os.environ.setdefault("A360_THREADS", str(cpus.available()))
    # Native libraries read these once, when they are loaded; without them each takes all cores of the host.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, threads)
    from pathlib import Path

    from a360runtime.serving.main import main

    return main(Path(HERE), sys.argv[1:])


if __name__ == "__main__":
    sys.exit(start())
