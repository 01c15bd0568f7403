"""What keeps pods from running, in plain words: pure functions over what the cluster says of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from a360_hub_service.backends.targets.kubernetes.manifests import PORT, in_gigabytes
from a360_hub_service.backends.targets.types import ReplicaStatus

Manifest = dict[str, Any]

_SHOWN = 400
"""Characters of what a cluster says in a message."""
_PULL = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError")


@dataclass(frozen=True)
class Trouble:
    """One thing that keeps a replica from being ready. `final`: waiting longer will not change it."""

    words: str
    hint: str = ""
    final: bool = False


def trouble_of(pod: Manifest) -> Trouble | None:
    """Return what is wrong with a pod, ``None`` when nothing is, or nothing yet."""
    status = pod.get("status", {})
    for found in status.get("containerStatuses") or []:
        if found.get("ready"):
            return None
        if trouble := _of_container(pod, found):
            return trouble
    if status.get("phase") == "Failed":
        reason = status.get("reason") or "Failed"
        return Trouble(f"was ended by the cluster ({reason}): {_short(status.get('message'))}")
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return _unschedulable(str(condition.get("message", "")))
    return None


def trouble_of_deployment(deployment: Manifest) -> Trouble | None:
    """Return why the cluster makes no pods, ``None`` when it does."""
    for condition in deployment.get("status", {}).get("conditions") or []:
        if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
            words = str(condition.get("message", ""))
            hint = "Ask the administrators of the cluster."
            if "exceeded quota" in words:
                hint = "Ask for fewer replicas or less for each, or let the cluster's quota be raised."
            elif "violates PodSecurity" in words:
                hint = "The namespace takes only pods with fewer rights; ask the operator."
            return Trouble(f"the cluster makes no pods: {_short(words)}", hint, final=True)
    return None


def _of_container(pod: Manifest, found: Manifest) -> Trouble | None:
    waiting = found.get("state", {}).get("waiting") or {}
    reason = str(waiting.get("reason", ""))
    if reason in _PULL:
        return _pull(found.get("image", ""), reason, str(waiting.get("message", "")))
    if reason in ("CreateContainerConfigError", "CreateContainerError", "RunContainerError"):
        words = f"cannot be started ({reason}): {_short(waiting.get('message'))}"
        return Trouble(words, "Ask the operator.", final=reason == "CreateContainerConfigError")
    ended = found.get("state", {}).get("terminated") or found.get("lastState", {}).get("terminated") or {}
    if not ended:
        return None
    restarts = int(found.get("restartCount", 0))
    if ended.get("reason") == "OOMKilled":
        limit = _memory_limit(pod)
        words = (
            f"ran out of memory (OOMKilled): it wanted more than its limit{f' of {limit}' if limit else ''}"
        )
        return Trouble(words, "Publish with a higher memory limit.", final=True)
    words = f"ends with code {ended.get('exitCode')} soon after its start"
    if reason == "CrashLoopBackOff" or restarts >= 2:
        words = f"keeps crashing (CrashLoopBackOff): it {words}"
        return Trouble(words, "Correct the script and package again; the lines above say why.", final=True)
    return Trouble(words, "The lines above say why.")


def _pull(image: str, reason: str, message: str) -> Trouble:
    low = message.lower()
    # The first failure may pass; when the kubelet begins to wait, the same was tried again.
    final = reason != "ErrImagePull"
    what = f"the image {image} cannot be pulled ({reason})"
    if reason == "InvalidImageName":
        return Trouble(f"{what}: the name is none of an image", "Package the model again.", True)
    if "not found" in low or "manifest unknown" in low:
        return Trouble(f"{what}: the registry does not have it", "Package the model again.", final)
    if "401" in low or "403" in low or "unauthorized" in low or "denied" in low or "authorization" in low:
        hint = (
            "The operator corrects the platform's login in the registry (c.Registry), or its right to pull."
        )
        return Trouble(f"{what}: the registry does not let the cluster have it", hint, final)
    if "http response to https client" in low or "x509" in low or "certificate" in low:
        hint = "Let the nodes of the cluster trust the registry's certificate."
        return Trouble(f"{what}: the nodes do not trust the registry", hint, final)
    if "no such host" in low or "refused" in low or "timeout" in low or "no route" in low:
        hint = "The nodes of the cluster must reach the registry by the name the platform uses."
        return Trouble(f"{what}: the nodes do not reach the registry", hint, final)
    return Trouble(f"{what}: {_short(message) or 'no reason is given'}", "Ask the operator.", final)


def _unschedulable(message: str) -> Trouble:
    """Say what no node has. A cluster that adds nodes by itself may yet have it: waiting is no waste."""
    low = message.lower()
    lacking = [word for word in ("cpu", "memory", "ephemeral-storage") if f"insufficient {word}" in low]
    if lacking:
        what = " and ".join(lacking)
        hint = "Publish with lower requests or fewer replicas, or let nodes be added to the cluster."
        return Trouble(
            f"no node has room (Unschedulable): too little {what} is left. {_short(message)}", hint
        )
    hint = "Ask the administrators of the cluster."
    return Trouble(f"no node takes it (Unschedulable): {_short(message)}", hint)


def _memory_limit(pod: Manifest) -> str:
    for container in pod.get("spec", {}).get("containers") or []:
        limit = (container.get("resources", {}).get("limits") or {}).get("memory", "")
        return in_gigabytes(str(limit))
    return ""


def is_ready(pod: Manifest) -> bool:
    """Does a pod answer calls?"""
    if pod["metadata"].get("deletionTimestamp"):
        return False
    conditions = pod.get("status", {}).get("conditions") or []
    return any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions)


def restarts_of(pod: Manifest) -> int:
    """Return how often the container of a pod was started again."""
    return sum(
        int(each.get("restartCount", 0)) for each in pod.get("status", {}).get("containerStatuses") or []
    )


def replica_of(pod: Manifest) -> ReplicaStatus:
    """Return a pod as targets tell of their replicas."""
    metadata, ready = pod["metadata"], is_ready(pod)
    address = str(pod.get("status", {}).get("podIP", ""))
    trouble = None if ready else trouble_of(pod)
    return ReplicaStatus(
        name=str(metadata["name"]),
        address=f"{address}:{PORT}" if address else "",
        ready=ready,
        identity=str(metadata["uid"]),
        restarts=restarts_of(pod),
        message="" if ready else trouble.words if trouble else "starting",
    )


def worst(troubles: Sequence[Trouble]) -> Trouble | None:
    """Return the trouble to name when there are several: a final one first."""
    return next((each for each in troubles if each.final), troubles[0] if troubles else None)


def _short(text: object) -> str:
    words = " ".join(str(text or "").split())
    return words if len(words) <= _SHOWN else f"{words[:_SHOWN]}…"
