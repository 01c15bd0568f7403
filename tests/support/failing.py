"""Builders and targets that fail on purpose."""

import os
import signal
from pathlib import Path
from typing import ClassVar

from a360_hub_service.backends.base import Health, Log
from a360_hub_service.backends.images import BuildRequest, BuiltPackage, ImageBuilder
from a360_hub_service.backends.targets import TargetError
from a360_hub_service.backends.targets.process import ProcessTarget


class FailingBuilder(ImageBuilder):
    """Has nothing to find and nothing to remove."""

    def health(self) -> Health:
        """All is well, it says."""
        return Health(True)

    def find(self, package_id: str, slug: str) -> BuiltPackage | None:
        """Nothing was ever built."""
        return None

    def remove(self, package_id: str, slug: str) -> None:
        """Nothing is there to be removed."""


class RaisingBuilder(FailingBuilder):
    """Raises what nobody expects."""

    name: ClassVar[str] = "raising"
    description: ClassVar[str] = "Fails."

    def build(self, request: BuildRequest, log: Log) -> BuiltPackage:
        """Fail."""
        raise RuntimeError("the hammer slipped")


class CrashingBuilder(FailingBuilder):
    """Takes the service down with it."""

    name: ClassVar[str] = "crashing"
    description: ClassVar[str] = "Crashes."

    def build(self, request: BuildRequest, log: Log) -> BuiltPackage:
        """Crash."""
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("still alive")


class StubbornTarget(ProcessTarget):
    """Does not let go of endpoints while there is a file ``stubborn`` in the state directory."""

    def remove(self, slug: str, log: Log) -> None:
        """Refuse, or do it."""
        if Path(self.home, "stubborn").exists():
            raise TargetError("The replicas hold on to the floor.", hint="Tickle them.")
        super().remove(slug, log)
