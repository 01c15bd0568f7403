"""Commands that look after a state folder: status, passwords, schema."""

import argparse
import os
from typing import TYPE_CHECKING

from hub_config.embedded import Embedded

from .running import find

if TYPE_CHECKING:
    from ..app import A360HubService


def status(options: argparse.Namespace) -> int:
    """Say whether the platform runs and where; status 1 when it does not."""
    home = options.home.absolute()
    running = find(home) if home.is_dir() else None
    if running is None:
        print(f"A360 is not running in {home}.")
        return 1
    print(f"A360 runs at {running.url} (process {running.pid}, Hub {running.hub_pid}), state folder {home}.")
    return 0


def reset_password(options: argparse.Namespace) -> int:
    """Make and print a new password; it holds at once, running or not."""
    platform = Embedded(options.home)
    password = platform.prepare() or platform.accounts.reset()
    print(f"New password of the demo accounts: {password}")
    return 0


def upgrade(options: argparse.Namespace) -> int:
    """Bring the schema of the platform's database to the newest version."""
    platform = Embedded(options.home)
    platform.prepare_folders()
    upgrade_database(platform)
    print("The database is up to date.")
    return 0


def upgrade_database(platform: Embedded) -> None:
    """Run the migrations of the database the service is configured for, seeding a new one."""
    _service(platform).upgrade()


def gateway_trouble(platform: Embedded) -> str:
    """Why no call could reach a published endpoint of this platform; empty when all is well."""
    from ..backends.targets.gateway import Gateway

    health = Gateway(parent=_service(platform), home=str(platform.home)).health()
    return "" if health.available else health.reason


def _service(platform: Embedded) -> "A360HubService":
    from ..app import A360HubService  # it imports the whole service, which other commands need not wait for

    os.environ["A360_HOME"] = str(platform.home)
    os.environ["A360_SERVICE_CONFIG"] = str(platform.service_config)
    service = A360HubService()
    service.initialize([])
    return service
