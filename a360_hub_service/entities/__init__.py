"""The schema's only home: every mapped class, one module per area."""

from .base import Base, new_id, utcnow
from .delivery import Endpoint, EndpointKey, Job, JobEvent, Package
from .gates import PackageScan, ScanFinding, Waiver
from .models import Artifact, Experiment, Model, ModelEvent, Run
from .people import GroupRole, User
from .projects import Collaborator, Credential, DataRepo, Project
from .versions import DataBranch, DataCommit, DataEntry, DataTag
from .workspaces import Workspace

__all__ = [
    "Artifact",
    "Base",
    "Collaborator",
    "Credential",
    "DataBranch",
    "DataCommit",
    "DataEntry",
    "DataRepo",
    "DataTag",
    "Endpoint",
    "EndpointKey",
    "Experiment",
    "GroupRole",
    "Job",
    "JobEvent",
    "Model",
    "ModelEvent",
    "Package",
    "PackageScan",
    "Project",
    "Run",
    "ScanFinding",
    "User",
    "Waiver",
    "Workspace",
    "new_id",
    "utcnow",
]
