"""Every error of the kit says what happened, why, and what to do: at each place that raises one."""

import ast
from pathlib import Path

import pytest

from a360mdk import exceptions

KIT = Path(exceptions.__file__).parent
NAMES = {
    "A360AIError": "M162", "ArtifactError": "M163", "ConfigurationError": "M164", "DataRepoError": "M165",
    "DataSourceError": "M166", "DatasetError": "M167", "ExperimentError": "M168", "FileSystemError": "M169",
    "GraphQLError": "M170", "ModelError": "M171", "RunError": "M172", "SchedulerError": "M173",
}  # fmt: skip


def made(tree: ast.AST) -> list[ast.Call]:
    """Calls that make one of the kit's errors, also through a parameter named ``error``."""
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and (node.func.id in NAMES or node.func.id == "error")
    ]


def says(part: ast.expr) -> bool:
    """Whether an argument is more than an empty text."""
    return not (isinstance(part, ast.Constant) and not part.value)


@pytest.mark.row(*NAMES.values())
@pytest.mark.parametrize("path", sorted(KIT.rglob("*.py")), ids=lambda path: str(path.relative_to(KIT)))
def test_each_error_is_made_of_three_parts(path: Path) -> None:
    for call in made(ast.parse(path.read_text())):
        if any(isinstance(argument, ast.Starred) for argument in call.args):
            continue  # three parts made elsewhere
        assert len(call.args) == 3, f"{path}:{call.lineno} gives {len(call.args)} parts of 3"
        assert all(map(says, call.args)), f"{path}:{call.lineno} has an empty part"
