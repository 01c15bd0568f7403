"""Kubeconfigs of clusters that need not exist."""

import json


def eks_template(
    version: str = "v1", *, server: str = "https://c.example.org", secret: str = "x9", command: str = "aws"
) -> str:
    """Return the template of EKS, filled in (F122, F123)."""
    values = {
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "AKIA1",
        "AWS_SECRET_ACCESS_KEY": secret,
    }
    run = {
        "apiVersion": f"client.authentication.k8s.io/{version}",
        "command": command,
        "args": ["eks", "get-token", "--cluster-name", "serving"],
        "env": [{"name": name, "value": value} for name, value in values.items()],
    }
    return _document(server, {"exec": run})


def token_template(server: str, token: str) -> str:
    """Return a kubeconfig with a token."""
    return _document(server, {"token": token})


def _document(server: str, user: dict[str, object]) -> str:
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "aws", "user": user}],
        "contexts": [{"name": "aws", "context": {"cluster": "c", "user": "aws"}}],
        "current-context": "aws",
    }
    return json.dumps(document)
