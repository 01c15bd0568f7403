"""The application: reads its configuration, wires the parts together, and does nothing else."""

import asyncio
import json
import logging
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from sqlalchemy import select
from tornado.httpserver import HTTPServer
from tornado.web import Application as TornadoApplication
from traitlets import Bool, CaselessStrEnum, Dict, Float, Int, List, Unicode, default
from traitlets.config import Application

from .api import garbage
from .api.handlers import Web
from .api.identity import HubIdentity, IdentityProvider
from .api.key_use import watch as watch_key_use
from .api.leases import watch as watch_leases
from .api.loop_watch import LoopWatch
from .api.openapi import document
from .api.routes import PREFIX, ROUTES
from .api.server import make_application
from .api.tending import watch as tend_endpoints
from .backends.git import GitSource
from .backends.images.base import ImageBuilder, builder_class
from .backends.registries import Registry
from .backends.scanners import Severity, scanner_class
from .backends.storage import StorageFactory
from .backends.targets.base import Target, target_class
from .backends.targets.gateway import Gateway
from .database import Database
from .entities import GroupRole
from .hub.client import HubClient
from .jobs.engine import JobEngine
from .logs import written_by_a_thread
from .policy import Role
from .secrets import Secrets, SecretsError
from .services.context import Context, Settings
from .services.deployment_targets import account_reader
from .services.registries import holding_reader, login_reader

log = logging.getLogger("a360")
# For handlers that hold whole bodies; those of the API have limits of their own, checked before they read.
HELD_LIMIT = 2**20
# A request's first line and headers, in bytes: what the Hub's proxy lets through, and parsed in a few ms.
HEAD_LIMIT = 2**14


class UpgradeApp(Application):
    """``a360-hub-service upgrade``: bring the database to the newest schema."""

    name = "a360-hub-service-upgrade"
    description = "Bring the database to the newest schema."

    def start(self) -> None:
        """Upgrade and say so."""
        assert isinstance(self.parent, A360HubService)
        self.parent.upgrade()


class A360HubService(Application):
    """The hub service of A360.

    What JupyterHub tells a service is taken from the environment (``JUPYTERHUB_*``), so the same program runs
    managed by the Hub or on its own.
    """

    name = "a360-hub-service"
    description = "Projects, models, review, packaging and publishing, as a service of JupyterHub."
    version = version("a360")
    aliases = {"config": "A360HubService.config_file", "home": "A360HubService.home"}
    subcommands = {"upgrade": (UpgradeApp, "Bring the database to the newest schema.")}

    config_file = Unicode(help="A Python file of traitlets configuration.").tag(config=True)
    home = Unicode(help="The state directory.").tag(config=True)
    database_url = Unicode(help="SQLAlchemy URL; SQLite in the state directory when empty.").tag(config=True)
    secret_keys_file = Unicode(help="File with one Fernet key a line; the first encrypts.").tag(config=True)
    public_url = Unicode(help="Where browsers find the service.").tag(config=True)
    threads = Int(12, help="Threads for blocking work (database, storage).").tag(config=True)
    identity_seconds = Int(30, help="How long an answer of the Hub about a user is trusted.").tag(config=True)
    self_review_allowed = Bool(
        False, help="May submitters in projects of one person review their own models?"
    ).tag(config=True)
    local_volumes = Bool(True, help="May data repos be folders of this machine?").tag(config=True)
    max_upload_bytes = Int(5 * 1024**3, help="Most bytes of one uploaded file.").tag(config=True)
    run_lease_seconds = Int(180, help="How long a run may be without a heartbeat of its kernel.").tag(
        config=True
    )
    tend_seconds = Float(30.0, help="Seconds until endpoints that went down are looked for again.").tag(
        config=True
    )
    key_use_seconds = Float(60.0, help="How often endpoints are asked when their keys were used.").tag(
        config=True
    )
    builders = List(
        Unicode(), ["oci", "docker", "bundle"], help="Package builders to offer, preferred ones first."
    ).tag(config=True)
    scanners = List(
        Unicode(),
        ["trivy", "embedded"],
        help="Scanners of packages: the first that is set up and works is used.",
    ).tag(config=True)
    scan_stops = List(
        CaselessStrEnum([each.value for each in Severity if each != Severity.UNKNOWN]),
        ["high", "critical"],
        help="Severities of known vulnerabilities that stop a package.",
    ).tag(config=True)
    scan_unknown = CaselessStrEnum(
        ["warn", "stop"], "warn", help="What to do with a package of which something could not be checked."
    ).tag(config=True)
    targets = List(
        Unicode(), ["process", "docker", "kubernetes", "clearblade"], help="Publishing targets to offer."
    ).tag(config=True)
    default_builder = Unicode(
        help="The builder of forms that name none; the first that works when empty."
    ).tag(config=True)
    default_target = Unicode("process", help="The target of forms that name none.").tag(config=True)
    group_roles = Dict(
        default_value={
            "Administrator": ["client_admin"],
            "Data Scientists": ["data_scientist"],
            "ML Engineers": ["ml_engineer"],
        },
        help="Roles of groups, written into an empty database.",
    ).tag(config=True)
    loop_budget_ms = Int(0, help="Watch the event loop and report blocks longer than this; 0 is off.").tag(
        config=True
    )

    @default("config_file")
    def _default_config_file(self) -> str:
        return os.environ.get("A360_SERVICE_CONFIG", "")

    @default("home")
    def _default_home(self) -> str:
        return os.environ.get("A360_HOME") or str(Path.cwd() / ".a360")

    @default("database_url")
    def _default_database_url(self) -> str:
        return f"sqlite:///{Path(self.home, 'service', 'a360.sqlite')}"

    @default("secret_keys_file")
    def _default_secret_keys_file(self) -> str:
        return str(Path(self.home, "service", "secret.keys"))

    @default("public_url")
    def _default_public_url(self) -> str:
        prefix = os.environ.get("JUPYTERHUB_SERVICE_PREFIX", "/services/a360/")
        return (os.environ.get("JUPYTERHUB_PUBLIC_HUB_URL", "") + prefix).rstrip("/")

    def initialize(self, argv: list[str] | None = None) -> None:
        """Read the command line, then the configuration file (the command line wins)."""
        self.parse_command_line(argv)
        if self.config_file:
            cli = self.cli_config
            self.load_config_file(Path(self.config_file).name, path=str(Path(self.config_file).parent))
            self.update_config(cli)

    def upgrade(self) -> None:
        """Create or upgrade the schema, and give the groups of a new database their roles."""
        Path(self.home, "service").mkdir(parents=True, exist_ok=True)
        database = Database(self.database_url)
        database.upgrade()
        with database.session() as session:
            if session.scalar(select(GroupRole).limit(1)) is None:
                for group, roles in self.group_roles.items():
                    session.add_all(GroupRole(group_name=group, role=Role(role).value) for role in roles)
        database.close()

    def make_context(self) -> Context:
        """Build every part of the service.

        Raises
        ------
        SecretsError
            If the key file is missing: what is stored could not be read again later.
        """
        settings = Settings(
            home=Path(self.home),
            public_url=self.public_url,
            self_review_allowed=self.self_review_allowed,
            default_builder=self.default_builder,
            default_target=self.default_target,
            local_volumes=self.local_volumes,
            max_upload_bytes=self.max_upload_bytes,
            run_lease_seconds=self.run_lease_seconds,
            tend_seconds=self.tend_seconds,
            scan_stops=frozenset(self.scan_stops),
            scan_unknown=self.scan_unknown,
            key_use_seconds=self.key_use_seconds,
        )
        database = Database(self.database_url, pool_size=self.threads)
        secrets = Secrets.from_file(Path(self.secret_keys_file))
        gateway = Gateway(parent=self, home=self.home)
        registry = Registry(parent=self, read_login=login_reader(database, secrets))
        registry.read_holding = holding_reader(database, secrets, registry)
        builders: list[ImageBuilder] = [
            builder_class(name)(parent=self, home=self.home, registry=registry) for name in self.builders
        ]
        targets: list[Target] = [
            target_class(name)(
                parent=self,
                home=self.home,
                gateway=gateway,
                registry=registry,
                read_account=account_reader(database, secrets),
            )
            for name in self.targets
        ]
        return Context(
            settings=settings,
            database=database,
            secrets=secrets,
            storages=StorageFactory(settings.home, secrets),
            hub=HubClient.from_environment(),
            jobs=JobEngine(parent=self, home=self.home),
            git=GitSource(parent=self),
            registry=registry,
            builders={builder.name: builder for builder in builders},
            targets={target.name: target for target in targets},
            scanners=[scanner_class(name)(parent=self, home=self.home) for name in self.scanners],
        )

    def make_web(self, context: Context, identity: IdentityProvider) -> tuple[Web, TornadoApplication]:
        """The web application over a context."""
        web = Web(context, ThreadPoolExecutor(self.threads, "a360"), identity)
        prefix = os.environ.get("JUPYTERHUB_SERVICE_PREFIX", "/services/a360/")
        if self.loop_budget_ms:
            web.watch = LoopWatch(self.loop_budget_ms)
        return web, make_application(web, prefix, cookie_secret=context.secrets.derive("cookie"))

    def start(self) -> None:
        """Serve until told to stop."""
        super().start()
        if self.subapp is not None:
            self.subapp.start()
            return
        with written_by_a_thread():
            busy = self._run()
        if busy:
            # A running job cannot be interrupted; the next service goes on after its last finished step.
            os._exit(0)

    def _run(self) -> bool:
        """Serve; whether a job is still running at the end."""
        try:
            context = self.make_context()
        except SecretsError as error:
            sys.exit(f"a360-hub-service: {error}")
        # The event loop gets the interpreter back from a computing thread within this time, a fifth of
        # Python's default, for a few percent of the threads' own speed.
        sys.setswitchinterval(0.001)
        garbage.tame()
        asyncio.run(self._serve(context))
        return context.jobs.busy

    async def _serve(self, context: Context) -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        web, application = self.make_web(context, HubIdentity(self.identity_seconds))
        url = urlparse(os.environ.get("JUPYTERHUB_SERVICE_URL", "http://127.0.0.1:8091"))
        limits = {"max_header_size": HEAD_LIMIT, "max_body_size": HELD_LIMIT, "max_buffer_size": 2**21}
        server = HTTPServer(application, xheaders=True, **limits)
        # The Hub gives up on a service that stays silent: listen first, work later.
        server.listen(url.port or 8091, url.hostname or "127.0.0.1")
        log.info("listening on %s", url.geturl())
        starting = asyncio.create_task(self._start_parts(context, web))
        await stop.wait()
        starting.cancel()
        server.stop()
        await web.run(context.jobs.stop)
        await context.hub.close()
        await server.close_all_connections()
        web.pool.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(context.database.close)  # it may write what is left of a log to disk

    async def _start_parts(self, context: Context, web: Web) -> None:
        try:
            if not await web.run(context.database.is_current):
                log.error("the database has another schema than this program; run “a360-hub-service upgrade”")
                return
            for builder in context.builders.values():
                await web.run(builder.tidy)
            await web.run(context.jobs.start, context)
            await context.hub.load()
            if web.watch:
                web.watch.install()
            web.ready = True
            watches = tend_endpoints(web), watch_leases(web), watch_key_use(web)
            await asyncio.gather(*watches, garbage.collect_when_quiet(web))
        except Exception:
            log.exception("the service could not start")


def openapi() -> dict[str, Any]:
    """The OpenAPI document of this version."""
    return document(ROUTES, prefix=f"/services/a360/{PREFIX}", version=version("a360"))


def print_openapi() -> None:
    """Write the OpenAPI document to standard output (``make openapi``)."""
    sys.stdout.write(json.dumps(openapi(), indent=1, ensure_ascii=False) + "\n")


def main() -> None:
    """Entry point of ``a360-hub-service``."""
    A360HubService.launch_instance()
