"""The user's script, read without running it: is it there, can it be called, what does it import?"""

import ast
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from a360_hub_service.backends.git.tree import LFS_POINTER
from a360_hub_service.backends.images.base import BuildError

_MAX_FILES = 2000


@dataclass(frozen=True)
class Script:
    """A checked script.

    `imports` are the top-level names that it and the repository's modules it imports ask for; `extra` are
    modules and packages of the repository's root it imports, which do not lie in its own folder.
    """

    path: Path
    imports: frozenset[str]
    extra: tuple[Path, ...]


def file_in_repository(repo: Path, name: str, field: str) -> Path:
    """Return the path of `name` inside `repo`. Raises `BuildError` when it leads out or is not there."""
    pure = PurePosixPath(name)
    if not name or pure.is_absolute() or ".." in pure.parts or "\\" in name:
        raise BuildError(f"{name!r} is not a path inside the repository.", field=field)
    path = repo / pure
    if not path.is_file():
        raise BuildError(f"The repository has no file {name}.", hint=_others(repo, pure.suffix), field=field)
    if not path.resolve().is_relative_to(repo.resolve()):
        raise BuildError(f"{name} is a link that leads out of the repository.", field=field)
    _refuse_pointer(path, name, field)
    return path


def check_script(repo: Path, name: str, function: str) -> Script:
    """Check that `name` holds a `function` of two parameters, and collect what it imports.

    Raises `BuildError` with the field at fault.
    """
    if not name.endswith(".py"):
        raise BuildError(f"The script name {name!r} does not end in .py.", field="script_name")
    path = file_in_repository(repo, name, "script_name")
    _check_function(_parse(path, name), name, function)
    imports: set[str] = set()
    extra: dict[Path, None] = {}
    waiting, seen = [path], {path}
    while waiting:
        current = waiting.pop()
        for module in _imported(_parse(current, current.relative_to(repo).as_posix())):
            found = _local(module, (path.parent, repo))
            if found is None:
                imports.add(module)
                continue
            if not found.is_relative_to(path.parent):
                extra[found] = None
            files = [found] if found.is_file() else sorted(found.rglob("*.py"))[:_MAX_FILES]
            waiting += [file for file in files if file not in seen]
            seen.update(files)
    return Script(path, frozenset(imports), tuple(extra))


def _refuse_pointer(path: Path, name: str, field: str) -> None:
    """Raise `BuildError` for a file that only says where in Git's Large File Storage the real one is."""
    with path.open("rb") as file:
        if file.read(len(LFS_POINTER)) == LFS_POINTER:
            raise BuildError(
                f"{name} is a pointer of Git LFS; the file itself is not in the repository.",
                hint="Take it out of LFS (git lfs untrack), add it again and push.",
                field=field,
            )


def _parse(path: Path, name: str) -> ast.Module:
    _refuse_pointer(path, name, "script_name")
    try:
        return ast.parse(path.read_bytes(), filename=name)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        reason = error.msg if isinstance(error, SyntaxError) else str(error) or "it is nested too deeply"
        raise BuildError(f"{name}{line} is not Python: {reason}.", field="script_name") from error


def _check_function(tree: ast.Module, name: str, function: str) -> None:
    if not function.isidentifier():
        raise BuildError(f"{function!r} is not a name of a function.", field="call_function")
    defined = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    if function not in defined:
        # A name may also be imported or assigned; what it is shows when the script is loaded.
        if function in _bound(tree):
            return
        known = ", ".join(defined) or "none"
        raise BuildError(
            f"{name} has no function {function}.",
            hint=f"Write def {function}(artifact_list, payload). Functions it has: {known}.",
            field="call_function",
        )
    arguments = defined[function].args
    positional = [*arguments.posonlyargs, *arguments.args]
    required = len(positional) - len(arguments.defaults)
    keywords = [
        arg for arg, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if not value
    ]
    if required > 2 or (len(positional) < 2 and not arguments.vararg) or keywords:
        given = ", ".join(argument.arg for argument in positional) or "nothing"
        raise BuildError(
            f"The function {function} in {name} takes {given}; it is called with two arguments.",
            hint=f"Write def {function}(artifact_list, payload).",
            field="call_function",
        )


def _bound(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names.update((alias.asname or alias.name).partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.Assign):
            names.update(target.id for target in node.targets if isinstance(target, ast.Name))
    return names


def _imported(tree: ast.Module) -> set[str]:
    """Return the top-level names a module imports, in functions too; relative ones stay in their package."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            names.add(node.module.partition(".")[0])
        elif isinstance(node, ast.Call) and node.args and _is_import_call(node.func):
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                names.add(first.value.partition(".")[0])
    return names - {""}


def _is_import_call(function: ast.expr) -> bool:
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name in ("import_module", "__import__")


def _local(module: str, folders: tuple[Path, ...]) -> Path | None:
    for folder in folders:
        for found in (folder / f"{module}.py", folder / module):
            if found.is_file() or (found.is_dir() and any(found.glob("*.py"))):
                return found
    return None


def _others(repo: Path, suffix: str) -> str:
    found = []
    for root, folders, files in os.walk(repo):
        folders[:] = [folder for folder in folders if not folder.startswith(".")]
        found += [Path(root, file).relative_to(repo).as_posix() for file in files if file.endswith(suffix)]
    return f"It has: {', '.join(sorted(found)[:10])}." if found and suffix else ""
