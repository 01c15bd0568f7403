"""Code from git repositories."""

from a360_hub_service.backends.git.base import CodeSource, GitError
from a360_hub_service.backends.git.source import GitSource

__all__ = ["CodeSource", "GitError", "GitSource"]
