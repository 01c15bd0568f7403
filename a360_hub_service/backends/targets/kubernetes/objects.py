"""The objects of one endpoint in a cluster: made, found again, and taken away whole."""

import base64
import json
import time
from collections.abc import Collection, Sequence
from dataclasses import asdict, replace
from hashlib import sha256
from typing import Any

from a360_hub_service.backends.base import Log
from a360_hub_service.backends.images.base import BuiltPackage
from a360_hub_service.backends.targets.kubernetes import manifests, names
from a360_hub_service.backends.targets.kubernetes.cluster import Cluster, Missing, NotAllowed, one_at_a_time
from a360_hub_service.backends.targets.kubernetes.manifests import Manifest, Place, Workload
from a360_hub_service.backends.targets.kubernetes.rollout import PAUSE, pods_of, wait_until_gone
from a360_hub_service.backends.targets.types import EndpointSpec, TargetError

OPTIONAL = ("HorizontalPodAutoscaler", "Ingress", "HTTPRoute")
"""Kinds that a change of settings may make needless."""
ALL = (*OPTIONAL, "PodDisruptionBudget", "Service", "NetworkPolicy", "Secret")
"""Everything beside the Deployment, which goes last: as long as it is there the rest is found by it."""
_GONE_SECONDS = 60.0


class Objects:
    """What an endpoint is made of in its namespace."""

    def __init__(self, cluster: Cluster, place: Place, log: Log) -> None:
        self.cluster, self.place, self.log = cluster, place, log
        self.pull_secret: Manifest = {}

    # What is there.

    @staticmethod
    def namespaces(cluster: Cluster, platform: str, slug: str) -> list[str]:
        """Return where there is anything of an endpoint, half-made things included."""
        chosen = names.selector_text(platform, slug)
        found = [
            *cluster.list("Deployment", labelSelector=chosen),
            *cluster.list("Secret", labelSelector=chosen),
        ]
        return sorted({str(each["metadata"]["namespace"]) for each in found})

    def deployment(self) -> Manifest | None:
        """Return the Deployment, ``None`` when there is none."""
        return self.cluster.get("Deployment", self.place.name, self.place.namespace)

    def ready_revision(self) -> str:
        """Return the revision that was ready last, "" when none ever was."""
        return self._annotation(names.READY)

    def previous_revision(self) -> str:
        """Return the revision before that one, "" when there is none."""
        return self._annotation(names.PREVIOUS)

    def _annotation(self, name: str) -> str:
        found = self.deployment()
        return str((found["metadata"].get("annotations") or {}).get(name, "")) if found else ""

    def stored_spec(self, revision: str) -> EndpointSpec | None:
        """Return what a revision was made of, ``None`` when that is not known any more."""
        found = self.cluster.get("Secret", f"{self.place.name}-{revision}", self.place.namespace)
        if found is None:
            return None
        record: dict[str, Any] = json.loads(base64.b64decode(found["data"]["spec.json"]))
        return EndpointSpec(**(record | {"package": BuiltPackage(**record["package"])}))

    # Making.

    def ensure_namespace(self) -> None:
        """Make the namespace unless it is there. One that somebody else made stays as it is."""
        name, deadline = self.place.namespace, time.monotonic() + _GONE_SECONDS
        while True:
            found = self.cluster.get("Namespace", name)
            if found is not None and found.get("status", {}).get("phase") != "Terminating":
                if _is_ours(found, self.place.platform):
                    self.cluster.apply(manifests.namespace(name, self.place.platform))
                return
            if found is None:
                self.cluster.apply(manifests.namespace(name, self.place.platform))
                self.log(f"Made the namespace {name}.")
                return
            if time.monotonic() > deadline:
                raise TargetError(f"The namespace {name} is being deleted.", hint="Try again in a minute.")
            time.sleep(PAUSE)

    def store(self, spec: EndpointSpec, revision: str) -> None:
        """Keep what a revision is made of, its variables for the pods too."""
        data = {f"env.{name}": value for name, value in spec.environment.items()}
        data["spec.json"] = json.dumps(asdict(spec))
        self.cluster.apply(manifests.secret(self.place, f"-{revision}", data))

    def write_keys(self, document: str, *, create: bool = False) -> None:
        """Replace the keys. Pods get them now: without a reason to look the kubelet takes a minute.

        Parameters
        ----------
        document
            The keys as replicas read them; "" keeps those there are.
        create
            Whether the endpoint is being made, so that there may be neither keys nor pods.
        """
        name, space = f"{self.place.name}-keys", self.place.namespace
        if not document and create:
            document = "" if self.cluster.get("Secret", name, space) else "[]"
        if not document:
            return
        self.cluster.apply(manifests.secret(self.place, "-keys", {"keys.json": document}))
        seen = {names.KEYS_SEEN: sha256(document.encode()).hexdigest()[:16]}
        for pod in pods_of(self.cluster, self.place):
            try:
                self.cluster.annotate("Pod", pod["metadata"]["name"], space, seen)
            except Missing:
                # It ended meanwhile; the one in its place begins with the new keys.
                continue

    def apply(self, wanted: Sequence[Manifest], workload: Workload, spec: EndpointSpec) -> None:
        """Apply what goes with a Deployment, then the Deployment itself."""
        for manifest in wanted:
            self.cluster.apply(manifest)
        present = self.deployment()
        kept = {
            name: value
            for name in (names.READY, names.PREVIOUS)
            if present and (value := (present["metadata"].get("annotations") or {}).get(name))
        }
        if spec.max_replicas > spec.replicas and present:
            # The autoscaler's number stays, within what is asked for now.
            now = int(present["spec"].get("replicas", spec.replicas))
            workload = replace(workload, replicas=min(max(now, spec.replicas), spec.max_replicas))
        self.cluster.apply(manifests.deployment(self.place, workload, kept | dict(spec.labels)))
        kinds = {str(manifest["kind"]) for manifest in wanted}
        for kind in OPTIONAL:
            if kind not in kinds:
                self._delete_all(kind)

    def mark_ready(self, revision: str) -> None:
        """Write down that a revision was ready, and which one was before it."""
        ready = self.ready_revision()
        if ready == revision:
            return
        found = {names.READY: revision} | ({names.PREVIOUS: ready} if ready else {})
        self.cluster.annotate("Deployment", self.place.name, self.place.namespace, found)

    def prune(self, revisions: Collection[str]) -> None:
        """Forget all revisions but these."""
        kept = {f"{self.place.name}-{each}" for each in (*revisions, "keys", "pull")}
        for found in self._all("Secret"):
            if found["metadata"]["name"] not in kept:
                self.cluster.delete("Secret", found["metadata"]["name"], self.place.namespace)

    # Taking away.

    def remove(self, drain_seconds: float) -> None:
        """Take away everything, and wait for the pods to finish their calls."""
        for kind in ALL:
            self._delete_all(kind)
        self._delete_all("Deployment")
        seconds = manifests.PRE_STOP_SECONDS + drain_seconds + 30
        if not wait_until_gone(self.cluster, self.place, seconds):
            raise TargetError(
                f"The replicas of {self.place.slug} do not end.", hint="Look at the nodes of the cluster."
            )

    def _all(self, kind: str) -> list[Manifest]:
        chosen = names.selector_text(self.place.platform, self.place.slug)
        return self.cluster.list(kind, self.place.namespace, labelSelector=chosen)

    def _delete_all(self, kind: str) -> None:
        try:
            present = self._all(kind)
        except NotAllowed:
            if kind not in OPTIONAL:
                raise
            # What the platform may not see it did not make.
            return
        for found in present:
            self.cluster.delete(kind, found["metadata"]["name"], self.place.namespace)

    @staticmethod
    def sweep(cluster: Cluster, platform: str, log: Log) -> None:
        """Delete the platform's namespaces in which nothing of it is left, and wait until they are gone."""
        chosen = f"{names.MANAGED}={names.MANAGER},{names.PLATFORM}={platform}"
        gone = []
        for found in cluster.list("Namespace", labelSelector=chosen):
            name = str(found["metadata"]["name"])
            with one_at_a_time(f"{platform} namespace {name}"):
                if any(cluster.list(kind, name, labelSelector=chosen) for kind in ("Secret", "Deployment")):
                    continue
                cluster.delete("Namespace", name)
                gone.append(name)
        deadline = time.monotonic() + _GONE_SECONDS
        for name in gone:
            while cluster.get("Namespace", name) is not None:
                if time.monotonic() > deadline:
                    log(f"The namespace {name} is still being deleted.")
                    return
                time.sleep(PAUSE)


def _is_ours(namespace: Manifest, platform: str) -> bool:
    labels = namespace["metadata"].get("labels") or {}
    return bool(labels.get(names.MANAGED) == names.MANAGER and labels.get(names.PLATFORM) == platform)
