"""Configuration of the Hub: ``install_a360`` for any JupyterHub 6, and the embedded profile."""

from .install import install_a360

__all__ = ["install_a360"]
