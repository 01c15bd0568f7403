"""Scanners for known vulnerabilities: a base class, and implementations chosen by trait."""

from a360_hub_service.backends.scanners.base import (
    SCANNERS,
    Finding,
    Report,
    ScanError,
    Scanner,
    Severity,
    Source,
    scan_with,
    scanner_class,
)

__all__ = [
    "SCANNERS",
    "Finding",
    "Report",
    "ScanError",
    "Scanner",
    "Severity",
    "Source",
    "scan_with",
    "scanner_class",
]
