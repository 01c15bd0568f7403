"""A data repo in a bucket, for tests of the kit."""

import secrets

from tests.kit.conftest import Workspace
from tests.support.s3 import REGION, S3Server


def use_bucket(workspace: Workspace, server: S3Server, **inputs: str) -> str:
    """Make a new bucket the workspace's default data repo; its name."""
    with workspace.service.client("admin") as admin:
        form = {
            "name": f"S3 {secrets.token_hex(4)}",
            "description": "Test",
            "groups": ["Data Scientists"],
            "inputs": server.inputs(**inputs),
        }
        answer = admin.post("/credentials", json=form)
        assert answer.status_code == 201, answer.text
    name = f"kit-{secrets.token_hex(6)}"
    repo = {
        "name": "bucket",
        "description": "",
        "volume_account": answer.json()["id"],
        "volume_option": "new",
        "volume_name": name,
        "volume_region": REGION,
    }
    answer = workspace.client.post(f"/projects/{workspace.project['id']}/data-repos", json=repo)
    assert answer.status_code == 201, answer.text
    workspace.ai.set_default_datarepo("bucket")
    return name
