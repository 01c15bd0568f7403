"""From CVSS vectors and words to severities."""

from collections.abc import Iterable
from typing import Any

from cvss import CVSS2, CVSS3, CVSS4
from cvss.exceptions import CVSSError

from a360_hub_service.backends.scanners.base import Severity

_BANDS = ((9.0, Severity.CRITICAL), (7.0, Severity.HIGH), (4.0, Severity.MEDIUM), (0.0, Severity.LOW))
_WORDS = {
    "CRITICAL": Severity.CRITICAL,
    "HIGH": Severity.HIGH,
    "SEVERE": Severity.HIGH,
    "IMPORTANT": Severity.HIGH,
    "MODERATE": Severity.MEDIUM,
    "MEDIUM": Severity.MEDIUM,
    "LOW": Severity.LOW,
    "UNIMPORTANT": Severity.LOW,
    "NEGLIGIBLE": Severity.LOW,
}


def of_word(word: object) -> Severity:
    """Return the severity a word means; unknown for one that means none."""
    return _WORDS.get(str(word or "").upper(), Severity.UNKNOWN)


def of_vector(vector: str) -> float | None:
    """Return the base score of a CVSS vector of version 2, 3 or 4; None for what is none."""
    try:
        if vector.startswith("CVSS:4"):
            return float(CVSS4(vector).base_score)
        if vector.startswith("CVSS:3"):
            return float(CVSS3(vector).base_score)
        return float(CVSS2(vector).base_score)
    except (CVSSError, ValueError, TypeError):
        return None


def rate(ratings: Iterable[Any], word: object) -> tuple[Severity, float | None]:
    """Return severity and score of an advisory's list of OSV severities, or else of a word; the worst counts.

    Of CVSS 2 the bands of version 3 are used, which are never the milder ones.
    """
    vectors = (str(each.get("score", "")) for each in ratings if isinstance(each, dict))
    scores = [score for vector in vectors if (score := of_vector(vector)) is not None]
    if not scores:
        return of_word(word), None
    score = max(scores)
    return next(severity for least, severity in _BANDS if score >= least), score
