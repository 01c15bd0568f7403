"""Code samples of Markdown files."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "helm/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
_BLOCK = re.compile(r"^ *```(\S+) ?(\S*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Sample:
    """A fenced block: its language, the word after it, its text, and the line it begins at."""

    path: Path
    language: str
    kind: str
    text: str
    line: int

    def compiled(self) -> object:
        """The sample as a code object whose tracebacks name the document and its line."""
        return compile("\n" * self.line + self.text, str(self.path), "exec")


def samples(path: Path, language: str, kind: str = "") -> list[Sample]:
    """The samples of a document in this language, in order."""
    text = path.read_text()
    return [
        Sample(path, found[1], found[2], _dedented(found[3]), text[: found.start()].count("\n") + 1)
        for found in _BLOCK.finditer(text)
        if (found[1], found[2]) == (language, kind)
    ]


def _dedented(text: str) -> str:
    first = text[: len(text) - len(text.lstrip(" "))]
    return "\n".join(line.removeprefix(first) for line in text.splitlines()) + "\n"
