"""Code from git repositories."""

from a360_hub_service.backends.git.base import CodeSource, Fetched, GitError, GitLogin
from a360_hub_service.backends.git.source import GitSource

__all__ = ["CodeSource", "Fetched", "GitError", "GitLogin", "GitSource"]
