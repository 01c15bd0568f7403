"""The list of bad input names tests that exist."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]


def test_every_test_of_the_list_exists() -> None:
    named = re.findall(r"`([\w/]+\.py)(?:::(\w+))?`", (TESTS / "README.md").read_text())
    assert len(named) > 15
    for file, function in named:
        source = (TESTS / file).read_text()
        assert not function or f"def {function}(" in source, f"{file}::{function}"
