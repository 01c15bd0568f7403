"""Databases outside the platform: which there are, what each asks for, and whether one answers."""

from .check import DatabaseCheck
from .kinds import KINDS, Kind, check_inputs

__all__ = ["KINDS", "DatabaseCheck", "Kind", "check_inputs"]
