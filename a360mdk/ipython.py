"""IPython extension: the object ``a360ai`` in every kernel, without an import.

Loaded by the environment's ``etc/ipython/ipython_config.py``, or by hand with ``%load_ext a360mdk``.
"""

from typing import Any

NAME = "a360ai"


def load_ipython_extension(ipython: Any) -> None:
    """Define ``a360ai``. It connects on first use, so kernels start as fast as without it."""
    from a360mdk.main import A360AI

    if NAME not in ipython.user_ns:
        ipython.push({NAME: A360AI()}, interactive=False)


def unload_ipython_extension(ipython: Any) -> None:
    """Take ``a360ai`` away again."""
    ipython.user_ns.pop(NAME, None)
