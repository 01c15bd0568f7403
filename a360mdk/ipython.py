"""IPython extension: the object ``a360ai`` and the magics in every kernel, without an import.

Loaded by the environment's ``etc/ipython/ipython_config.py``, or by hand with ``%load_ext a360mdk``.
"""

from typing import Any

NAME = "a360ai"
_COMPLETER = "_a360_completer"


def load_ipython_extension(ipython: Any) -> None:
    """Define ``a360ai``, ``%a360`` and ``%%a360_run``; the object connects on first use.

    Args:
        ipython: the IPython shell.
    """
    from a360mdk.magics import completion
    from a360mdk.magics.magics import A360Magics
    from a360mdk.main import A360AI

    if NAME not in ipython.user_ns:
        ipython.push({NAME: A360AI()}, interactive=False)
    ipython.register_magics(A360Magics)
    if getattr(ipython, _COMPLETER, None) is None:
        setattr(ipython, _COMPLETER, completion.install(ipython))


def unload_ipython_extension(ipython: Any) -> None:
    """Take ``a360ai`` and the magics away again.

    Args:
        ipython: the IPython shell.
    """
    from a360mdk.magics import completion

    ipython.user_ns.pop(NAME, None)
    for kind, name in (("line", "a360"), ("cell", "a360_run")):
        ipython.magics_manager.magics[kind].pop(name, None)
    if getattr(ipython, _COMPLETER, None) is not None:
        completion.uninstall(ipython, getattr(ipython, _COMPLETER))
        setattr(ipython, _COMPLETER, None)
