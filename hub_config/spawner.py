"""Workspaces as processes of this machine, without an operating-system user for each account."""

import asyncio
import json
import os
import re
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import psutil
from jupyterhub.spawner import LocalProcessSpawner
from traitlets import Dict, List, Unicode, default

from spawner_profiles.catalogue import catalogue
from spawner_profiles.environments import ensure_image, ensure_overlay
from spawner_profiles.options import OptionsRefused, WorkspaceOptions, signing_key, verify
from spawner_profiles.sizes import memory_bytes

from .limits import Limits, release

# What a workspace inherits from the platform's own environment, so that `!pip install` finds index and proxy.
_KEPT = (
    "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "TMPDIR", "TZ",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "PIP_CERT", "PIP_CONFIG_FILE", "PIP_DEFAULT_TIMEOUT", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS",
    "PIP_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_DISABLE_PIP_VERSION_CHECK",
)  # fmt: skip


def workspace_home(state: Path, user: str, workspace_id: str) -> Path:
    """Home of a workspace; user names that are no plain folder name are escaped, never trusted."""
    folder = re.sub(r"[^a-zA-Z0-9_-]", lambda m: "".join(f"={b:02x}" for b in m.group().encode()), user)
    return state / "workspaces" / folder / workspace_id


class LocalWorkspaceSpawner(LocalProcessSpawner):
    """Starts a workspace as a process in a home of its own, on a shared image, within CPU and memory limits.

    All workspaces run as the user the Hub runs as: they are separate from each other by folder and by
    limits, not by operating-system permissions. Where users must not trust each other, use KubeSpawner.
    """

    state_folder = Unicode(config=True, help="The platform's state folder; homes lie in workspaces/ in it.")
    images_folder = Unicode(config=True, help="Where environments of images are built.")
    options_key_file = Unicode(config=True, help="The key the service signs workspace options with.")
    limits_state = Dict(help="What hub_config.limits applied to the running workspace.")
    workspace_id = Unicode(help="The workspace it was last started for, whose home it has.")
    pid: int
    a360_options: WorkspaceOptions | None = None
    progress_lines = List(Unicode())

    @default("images_folder")
    def _images_default(self) -> str:
        return str(Path(self.state_folder) / "images")

    @default("env_keep")
    def _env_keep_default(self) -> list[str]:
        return list(_KEPT)

    @default("default_url")
    def _default_url_default(self) -> str:
        return "/lab"

    async def start(self) -> Any:
        """Build the image if need be, set limits, start the process.

        Raises
        ------
        OptionsRefused
            When the pre-spawn hook of install_a360 has not approved this start.
        """
        options = self.a360_options
        if options is None:
            raise OptionsRefused("Workspaces are made and started in A360.")
        self.progress_lines = []
        self.workspace_id = options.workspace_id
        home = workspace_home(Path(self.state_folder), self.user.name, options.workspace_id)
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        image = catalogue().image(options.image)
        environment = await asyncio.to_thread(ensure_image, Path(self.images_folder), image, self._report)
        overlay = await asyncio.to_thread(ensure_overlay, environment, home)
        self._limits = Limits(options.workspace_id, options.cpu, memory_bytes(options.memory))
        self.limits_state = self._limits.prepare().as_dict()
        (home / ".a360" / "limits.json").write_text(json.dumps(self.limits_state, indent=1))
        self._home, self._search = home, [str(overlay / "bin"), str(environment / "bin")]
        self.cmd = [str(environment / "bin" / "jupyterhub-singleuser")]
        self.popen_kwargs = {"cwd": str(home)}
        self._report("Starting JupyterLab")
        try:
            return await super().start()
        except BaseException:
            await asyncio.to_thread(release, self.limits_state["groups"])
            raise

    def _report(self, line: str) -> None:
        self.log.info("%s: %s", self._log_name, line)
        self.progress_lines = [*self.progress_lines, line]

    def make_preexec_fn(self, name: str) -> Callable[[], None]:
        """Enter the control groups between fork and exec; there is no user to switch to."""
        return self._limits.preexec()

    def user_env(self, env: dict[str, str]) -> dict[str, str]:
        """Home, search path and kernels of this workspace."""
        inherited = [part for part in env.get("PATH", os.defpath).split(os.pathsep) if part]
        env["USER"] = self.user.name
        env["HOME"] = str(self._home)
        env["SHELL"] = "/bin/bash" if os.path.exists("/bin/bash") else "/bin/sh"
        env["PATH"] = os.pathsep.join([*self._search, *inherited])
        env["JUPYTER_PATH"] = str(self._home / ".a360" / "env" / "share" / "jupyter")
        return env

    def get_args(self) -> list[str]:
        """Arguments of the single-user server."""
        return [*super().get_args(), *(["--allow-root"] if os.geteuid() == 0 else [])]

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """What happens while the workspace starts; the Hub stops asking when it is up."""
        sent = 0
        while True:
            for line in self.progress_lines[sent:]:
                sent += 1
                yield {"progress": min(90, 10 + 15 * sent), "message": line}
            await asyncio.sleep(0.2)

    def get_state(self) -> dict[str, Any]:
        """Process and limits, for a Hub that starts again and for the service's answer."""
        state: dict[str, Any] = super().get_state()
        if self.workspace_id:
            state["workspace_id"] = self.workspace_id  # also of one that is stopped: it still has its home
        if self.pid:
            state["created"] = _created(self.pid)
            state["limits"] = self.limits_state
        return state

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up a workspace that outlived its Hub, unless its process id belongs to another process now."""
        super().load_state(state)
        self.limits_state = state.get("limits", {})
        self.workspace_id = state.get("workspace_id", "")
        if self.pid and _created(self.pid) != state.get("created"):
            self.pid = 0

    def clear_state(self) -> None:
        """Forget the process and remove its control groups with whatever is left in them."""
        super().clear_state()
        groups, self.limits_state = self.limits_state.get("groups", []), {}
        release(groups, deadline_seconds=1.0)

    async def stop(self, now: bool = False) -> None:
        """Stop the server, then what is left in its control group: kernels that ignored the request."""
        await super().stop(now=now)
        groups = self.limits_state.get("groups", [])
        if groups:
            await asyncio.to_thread(release, groups)

    async def delete_forever(self) -> None:
        """Remove the workspace's home, and nothing else: artifacts lie in data repos.

        Raises
        ------
        OSError
            When something of it cannot be removed, for the Hub's log.
        """
        workspace_id = self.workspace_id or self._signed_workspace()
        if workspace_id is None:
            return  # never started by the service: it has no home
        home = workspace_home(Path(self.state_folder), self.user.name, workspace_id)
        await asyncio.to_thread(remove_home, home)

    def _signed_workspace(self) -> str | None:
        """The workspace that the options of the last start name, if they are the service's.

        They need not be: whoever asks the Hub itself to start a server is refused, and has replaced them.
        """
        key = signing_key(Path(self.options_key_file))
        try:
            options = verify(key, self.user.name, self.name, self.user_options or {}, allow_expired=True)
        except OptionsRefused:
            return None
        return options.workspace_id


def remove_home(home: Path) -> None:
    """Remove a home, also the folders in it that nobody may write to, as caches of packages have them.

    Raises
    ------
    OSError
        When something cannot be removed.
    """
    shutil.rmtree(home, ignore_errors=True)
    if not home.exists():
        return
    for folder, below, _ in os.walk(home):
        for path in (os.path.join(folder, name) for name in below):
            if not os.path.islink(path):
                os.chmod(path, 0o700)
    shutil.rmtree(home)


def _created(pid: int) -> float | None:
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return None
