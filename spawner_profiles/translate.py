"""Profiles as the spawners want them: pure functions, no cluster needed."""

from typing import Any

from .catalogue import Catalogue, Image, Profile
from .options import WorkspaceOptions
from .sizes import memory_bytes

GPU_RESOURCE = "nvidia.com/gpu"
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "LOKY_MAX_CPU_COUNT",
)


def kubespawner_profile_list(catalogue: Catalogue) -> list[dict[str, Any]]:
    """KubeSpawner's ``profile_list``: each profile with the images as a choice; the first is the default."""
    return [
        {
            "slug": profile.name,
            "display_name": profile.title,
            "description": profile.description,
            "default": position == 0,
            "kubespawner_override": _override(profile),
            "profile_options": {"image": _image_option(profile, catalogue.images)},
        }
        for position, profile in enumerate(catalogue.profiles)
    ]


def _override(profile: Profile) -> dict[str, Any]:
    override: dict[str, Any] = {
        "cpu_limit": profile.cpu,
        "cpu_guarantee": profile.cpu / 2,
        "mem_limit": memory_bytes(profile.memory),
        "mem_guarantee": memory_bytes(profile.memory) // 2,
    }
    if profile.gpus:
        override["extra_resource_limits"] = {GPU_RESOURCE: str(profile.gpus)}
    return override


def _image_option(profile: Profile, images: list[Image]) -> dict[str, Any]:
    return {
        "display_name": "Image",
        "choices": {
            image.name: {
                "display_name": image.title,
                "default": image.name == profile.image,
                "kubespawner_override": {
                    "image": image.container or image.name,
                    "environment": {"A360_IMAGE": image.name},
                },
            }
            for image in images
        },
    }


def spawner_traits(options: WorkspaceOptions, image: Image) -> dict[str, Any]:
    """Traits any spawner has (``cpu_limit``, ``mem_limit`` in bytes), and KubeSpawner's own."""
    traits: dict[str, Any] = {
        "cpu_limit": options.cpu,
        "mem_limit": memory_bytes(options.memory),
        "image": image.container or image.name,
        "extra_resource_limits": {GPU_RESOURCE: str(options.gpus)} if options.gpus else {},
    }
    return traits


def workspace_environment(options: WorkspaceOptions, api_url: str) -> dict[str, str]:
    """Environment variables of a workspace's kernels.

    Libraries size their thread pools by the machine's cores and so ignore a CPU limit: the pools are set to
    the cores of the workspace.
    """
    threads = str(max(1, round(options.cpu)))
    return {
        "A360_API_URL": api_url,
        "A360_PROJECT_ID": options.project_id,
        "A360_PROJECT_NAME": options.project_name,
        "A360_WORKSPACE_ID": options.workspace_id,
        "A360_IMAGE": options.image,
        **dict.fromkeys(THREAD_VARIABLES, threads),
    }
