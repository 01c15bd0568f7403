"""Which rows of the acceptance lists have a passing test, and which have none: ``make rows`` prints it."""

import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / ".pytest_cache" / "rows.json"
ROWS = {"F": 361, "M": 173}
PATTERN = re.compile(r"[FM]\d{3}|C\d{2}")


def merge(outcomes: Iterable[tuple[str, str, list[str]]]) -> None:
    """Fold a run's outcomes (test, outcome, rows) into what earlier runs showed, test by test."""
    known: dict[str, dict[str, object]] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for test, outcome, rows in outcomes:
        known[test] = {"outcome": outcome, "rows": rows}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(known, indent=1, sort_keys=True))


def main() -> int:
    """Print the rows."""
    if not RESULTS.exists():
        print("No test has run here yet: run `make test` first.", file=sys.stderr)
        return 1
    passed: set[str] = set()
    failed: set[str] = set()
    for test, result in json.loads(RESULTS.read_text()).items():
        if "::" in test and not (ROOT / test.partition("::")[0]).exists():
            continue  # a test that was moved or removed proves nothing any more
        (passed if result["outcome"] == "passed" else failed).update(result["rows"])
    for letter, count in ROWS.items():
        rows = sorted(row for row in passed if row[0] == letter)
        print(f"{letter}: {len(rows)} of {count} rows have a passing test")
        _print_rows(rows)
        proven = set(rows)
        missing = [row for number in range(1, count + 1) if (row := f"{letter}{number:03}") not in proven]
        if missing:
            print(f"{letter}: {len(missing)} rows have none")
            _print_rows(missing)
    if only_failed := sorted(failed - passed):
        print(f"Rows whose tests all failed or were skipped: {' '.join(only_failed)}")
    return 0


def _print_rows(rows: list[str]) -> None:
    for start in range(0, len(rows), 18):
        print("  " + " ".join(rows[start : start + 18]))


if __name__ == "__main__":
    sys.exit(main())
