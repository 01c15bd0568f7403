"""The magics as IPython knows them."""

import ast
import shlex
from typing import Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, cell_magic, line_magic, magics_class

from a360mdk import exceptions
from a360mdk.exceptions import A360AIError
from a360mdk.experiment import Experiment
from a360mdk.magics import arguments, commands, subjects
from a360mdk.main import A360AI

CELL = "<a360_run>"
OURS: tuple[type[Exception], ...] = tuple(
    kind
    for kind in vars(exceptions).values()
    if isinstance(kind, type) and issubclass(kind, Exception) and kind.__name__.endswith("Error")
)
"""The kit's errors, which have no class in common."""


@magics_class
class A360Magics(Magics):
    """``%a360`` and ``%%a360_run``."""

    shell: Any

    @line_magic
    def a360(self, line: str) -> Any:
        """Look at the project, package and publish: see ``%a360 --help``."""
        __tracebackhide__ = True
        parser = arguments.a360()
        try:
            given = parser.parse_args(words(line))
            if given.command is None:
                parser.print_help()
                return None
            return commands.COMMANDS[given.command](self._a360ai(), self._names, given)
        except arguments.Told:
            return None
        except OURS as error:
            raise UsageError(brief(error)) from None

    @cell_magic
    def a360_run(self, line: str, cell: str) -> None:
        """Run the cell as a run of an experiment: see ``%%a360_run --help``."""
        __tracebackhide__ = True
        try:
            given = arguments.a360_run().parse_args(words(line))
            experiment = subjects.experiment_of(self._a360ai(), self._names, given.experiment)
            tree = self.shell.compile.ast_parse(self.shell.transform_cell(cell), CELL)
            self._require(given, tree)
        except arguments.Told:
            return
        except OURS as error:
            raise UsageError(brief(error)) from None
        self._run(experiment, given, tree, cell)

    def _run(self, experiment: Experiment, given: Any, tree: Any, cell: str) -> None:
        __tracebackhide__ = True
        run = experiment.run_experiment()
        failed_in_cell = True
        try:
            with run:
                self._names["run"] = run
                self._execute(tree, cell)
                failed_in_cell = False
                self._log(run, given)
        except OURS as error:
            if failed_in_cell and run.id is not None:
                raise
            raise UsageError(brief(error)) from None
        print(f"Run {run.id} of {experiment.experiment_name}: {run.status}.")

    def _execute(self, tree: Any, cell: str) -> None:
        """Execute the cell's statements as IPython would, its last value shown."""
        __tracebackhide__ = True
        name = self.shell.compile.cache(cell, raw_code=cell)
        tree = self.shell.transform_ast(tree)
        last = [tree.body.pop()] if tree.body and isinstance(tree.body[-1], ast.Expr) else []
        exec(self.shell.compile(tree, name, "exec"), self._names)  # noqa: S102 - what a cell is for
        if last:
            exec(self.shell.compile(ast.Interactive(last), name, "single"), self._names)  # noqa: S102

    def _log(self, run: Any, given: Any) -> None:
        """Log what the options name."""
        if given.hyperparameters:
            run.log_hyperparameters(self._value(given.hyperparameters))
        for name in given.metrics:
            value = self._value(name)
            run.log_metrics(value if isinstance(value, dict) else {name: value})
        if given.fitted:
            run.log_model(self._value(given.fitted))

    def _require(self, given: Any, tree: Any) -> None:
        """Refuse names that nothing defines, before the training and not after it."""
        stored = {
            node.id
            for node in ast.walk(tree)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        }
        for name in filter(None, [given.hyperparameters, *given.metrics, given.fitted]):
            if name not in stored and name not in self._names:
                raise A360AIError(
                    f"Nothing was run: there is no variable {name!r}.",
                    "Neither the notebook nor this cell defines it.",
                    "The options take names of variables, as in --metrics accuracy.",
                )

    def _value(self, name: str) -> Any:
        if name not in self._names:
            raise A360AIError(
                f"The run was not logged: there is no variable {name!r}.",
                "The cell ended without defining it.",
                "Define it, and run the cell again.",
            )
        return self._names[name]

    @property
    def _names(self) -> dict[str, Any]:
        names: dict[str, Any] = self.shell.user_ns
        return names

    def _a360ai(self) -> A360AI:
        held = self._names.get("a360ai")
        if not isinstance(held, A360AI):
            raise A360AIError(
                "The magics have no project.",
                "The variable a360ai is no longer what the kernel started with.",
                "Run: from a360mdk import A360AI; a360ai = A360AI()",
            )
        return held


def words(line: str) -> list[str]:
    """Split the line of a magic; quotes of both kinds keep spaces.

    Raises:
        UsageError: a quote is not closed.
    """
    try:
        return shlex.split(line)
    except ValueError as error:
        raise UsageError(
            f"{error}: {line}\nA name with spaces is written in quotes, one at each end."
        ) from None


def brief(error: Any) -> str:
    """Return an error as one line, and its hint as a second one."""
    parts = [part.strip().replace("\n", "; ") for part in (error.what, error.why) if part]
    line = " ".join(part if part[-1] in ".:!?" else f"{part}." for part in parts)
    return f"{line}\n{error.hint}" if error.hint else line
