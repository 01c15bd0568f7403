"""Waiting for pods, and telling meanwhile what they do."""

import time
from typing import Any

from a360_hub_service.backends import interruption
from a360_hub_service.backends.base import Log
from a360_hub_service.backends.targets.kubernetes import names
from a360_hub_service.backends.targets.kubernetes.cluster import Cluster, NoAnswer
from a360_hub_service.backends.targets.kubernetes.manifests import Place
from a360_hub_service.backends.targets.kubernetes.troubles import (
    Trouble,
    is_ready,
    trouble_of,
    trouble_of_deployment,
    worst,
)
from a360_hub_service.backends.targets.types import TargetError

Manifest = dict[str, Any]

PAUSE = 0.5
LINES = 20
"""The last lines of a replica that an error shows."""


def pods_of(cluster: Cluster, place: Place, revision: str = "") -> list[Manifest]:
    """Return the pods of an endpoint, or of one revision of it, by name."""
    chosen = names.selector_text(place.platform, place.slug)
    chosen += f",{names.REVISION}={revision}" if revision else ""
    found = cluster.list("Pod", place.namespace, labelSelector=chosen)
    return sorted(found, key=lambda pod: str(pod["metadata"]["name"]))


class Rollout:
    """One wait for one revision: all of its pods ready, and none of another left."""

    def __init__(self, cluster: Cluster, place: Place, revision: str, log: Log) -> None:
        self._cluster, self._place, self._revision, self._log = cluster, place, revision, log
        self._told: set[str] = set()

    def wait(self, seconds: float) -> None:
        """Return when it is done. Raises `TargetError` with the reason and the last lines when it is not."""
        deadline = time.monotonic() + seconds
        while True:
            interruption.check()
            try:
                if self._look(seconds, late=time.monotonic() > deadline):
                    return
            except NoAnswer as error:
                # A cluster whose API is away for a moment goes on with its work.
                if time.monotonic() > deadline:
                    raise
                self._tell(error.message)
            time.sleep(PAUSE)

    def _look(self, seconds: float, *, late: bool) -> bool:
        """Tell what is new; whether all is done. Raises `TargetError` when it never will be, or is late."""
        deployment = self._cluster.get("Deployment", self._place.name, self._place.namespace)
        if deployment is None:
            raise TargetError("Somebody deleted the endpoint in the cluster.", hint="Publish it again.")
        everything = pods_of(self._cluster, self._place)
        pods = [pod for pod in everything if pod["metadata"]["labels"][names.REVISION] == self._revision]
        self._tell_ready(deployment, pods)
        # Those that are being stopped answer for a while, so until they are gone calls may meet them.
        if _is_done(deployment) and len(pods) == len(everything):
            return True
        found = self._troubles(deployment, pods)
        final = next(((pod, trouble) for pod, trouble in found if trouble.final), None)
        if final or late:
            self._fail(found, final, seconds)
        return False

    def _tell(self, line: str) -> None:
        if line not in self._told:
            self._told.add(line)
            self._log(line)

    def _tell_ready(self, deployment: Manifest, pods: list[Manifest]) -> None:
        wanted = deployment["spec"].get("replicas", 1)
        if pods:
            self._tell(f"{sum(map(is_ready, pods))} of {wanted} replicas are ready.")

    def _troubles(self, deployment: Manifest, pods: list[Manifest]) -> list[tuple[str, Trouble]]:
        found = [("", trouble)] if (trouble := trouble_of_deployment(deployment)) else []
        for pod in pods:
            # What is being stopped was replaced; its end says nothing about what comes.
            if not pod["metadata"].get("deletionTimestamp") and (trouble := trouble_of(pod)):
                found += [(str(pod["metadata"]["name"]), trouble)]
        for pod_name, trouble in found:
            self._tell(f"{pod_name or self._place.name}: {trouble.words}.")
        return found

    def _fail(
        self, found: list[tuple[str, Trouble]], final: tuple[str, Trouble] | None, seconds: float
    ) -> None:
        pods = [str(pod["metadata"]["name"]) for pod in pods_of(self._cluster, self._place, self._revision)]
        speaker = final[0] if final else found[0][0] if found else ""
        speaker = speaker or next(iter(pods), "")
        lines = self._last_lines(speaker) if speaker else ""
        for line in lines.splitlines():
            self._log(f"{speaker} | {line}")
        trouble = final[1] if final else worst([each for _, each in found])
        why = trouble.words if trouble else "it does not say that it is ready"
        when = "" if final else f" is not ready after {seconds:.0f} seconds"
        raise TargetError(
            f"The endpoint {self._place.slug}{when}: {why}."
            + (f" Its last lines:\n{lines}" if lines else ""),
            hint=trouble.hint
            if trouble
            else "Correct the script and package again, or give it more time or CPU.",
        )

    def _last_lines(self, pod: str) -> str:
        """Return what the container wrote last; after a crash the present one may not have begun."""
        space = self._place.namespace
        return self._cluster.logs(pod, space, LINES) or self._cluster.logs(pod, space, LINES, previous=True)


def _is_done(deployment: Manifest) -> bool:
    """Are all pods the Deployment wants there, new and available, and none of the old ones?"""
    status, wanted = deployment.get("status", {}), deployment["spec"].get("replicas", 1)
    return bool(
        status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
        and status.get("updatedReplicas", 0) == wanted
        and status.get("availableReplicas", 0) >= wanted
        and status.get("replicas", 0) == wanted
    )


def wait_until_gone(cluster: Cluster, place: Place, seconds: float) -> bool:
    """Wait for the pods of an endpoint to end; whether they did."""
    deadline = time.monotonic() + seconds
    while pods_of(cluster, place):
        if time.monotonic() > deadline:
            return False
        time.sleep(PAUSE)
    return True
