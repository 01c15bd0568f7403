"""The magics in a shell of IPython, against the real service."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from a360mdk.client import READ_SECONDS
from a360mdk.magics import completion
from tests.kit.conftest import Workspace, make_workspace
from tests.support.delivery import call, delivery_service, make_repository, ok
from tests.support.jupyter import Server
from tests.support.samples import ROOT, samples
from tests.support.service import ServiceProcess

PAGE = ROOT / "docs" / "magics.md"
WINE = """
import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestRegressor
from sklearn.model_selection import train_test_split
rng = np.random.default_rng(3)
wine = pd.DataFrame({name: rng.normal(5, 2, 120).round(2) for name in ("alcohol", "acidity")})
wine["quality"] = wine.alcohol - wine.acidity
a360ai.write_dataset(wine, "wine.csv")
X, y = wine.drop(columns="quality"), wine["quality"]
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
model = a360ai.get_or_create_model("wine")
experiment = model.get_or_create_experiment("Forest", "sklearn", X_train, y_train)
"""
SET_UP = """
import numpy as np
from sklearn.linear_model import LinearRegression
X, y = np.arange(40.0).reshape(20, 2), np.arange(20.0)
model = a360ai.get_or_create_model("tides", "1.0", "regression")
experiment = model.get_or_create_experiment("Least squares", "sklearn", X, y)
"""
RUN = """%%a360_run experiment --hyperparameters chosen --metrics score more --model fitted
chosen = {"fit_intercept": True}
fitted = LinearRegression(**chosen).fit(X, y)
score = fitted.score(X, y)
more = {"rows": len(X)}
run.log_metadata({"by": "hand"})
score
"""


class Shell:
    """An IPython shell with the extension, and what its cells print."""

    def __init__(self, folder: Path, capsys: Any) -> None:
        config = Config()
        config.HistoryManager.enabled = False
        self.shell: Any = InteractiveShell(config=config, ipython_dir=str(folder), colors="nocolor")
        self._capsys = capsys
        self.run("%load_ext a360mdk")

    def run(self, code: str) -> Any:
        """Run a cell that ends well; its value."""
        result = self.shell.run_cell(code)
        assert result.success, self.said()
        return result.result

    def refused(self, code: str) -> str:
        """Run a cell that is refused; what it said in the end, which is two lines and no traceback."""
        self.said()
        result = self.shell.run_cell(code)
        assert not result.success
        text = self.said()
        assert "Traceback" not in text
        end = text[text.index("UsageError: ") :]
        assert len(end.splitlines()) == 2, text
        return end

    def said(self) -> str:
        """What was printed since the last time."""
        captured = self._capsys.readouterr()
        return str(captured.out + captured.err)

    def completed(self, text: str) -> list[str]:
        """What Tab makes of a cell's text, as a front end puts it in."""
        with provisionalcompleter():
            found = list(self.shell.Completer.completions(text, len(text)))
        return [text[: each.start] + each.text + text[each.end :] for each in found]

    def close(self) -> None:
        """Take all away."""
        self.run("%unload_ext a360mdk")


@pytest.fixture
def shell(workspace: Workspace, tmp_path: Path, capsys: Any) -> Iterator[Shell]:
    """A shell in a workspace of a project."""
    made = Shell(tmp_path / "ipython", capsys)
    yield made
    made.close()


def test_status_before_and_after_the_first_model(workspace: Workspace, shell: Shell) -> None:
    shell.said()
    shell.run("%a360 status")
    lines = dict(line.split(":", 1) for line in shell.said().splitlines())
    assert lines["Project"].strip() == workspace.project["name"]
    assert lines["Data repo"].strip().startswith(f"{workspace.project['name']} data")
    assert lines["Model"].strip() == "none loaded yet"
    assert lines["Open runs"].strip() == "none"
    shell.run(SET_UP)
    shell.run("with experiment.run_experiment() as run:\n    get_ipython().run_line_magic('a360', 'status')")
    text = shell.said()
    assert "tides 1.0: Draft" in text
    assert "Experiment: Least squares" in text
    assert f"Open runs:  {shell.shell.user_ns['run'].id}" in text
    assert "Endpoint:   none" in text
    shell.run("%a360 status --model tides --version 1.0")
    assert "Final run:  none yet" in shell.said()


def test_data_sets_and_runs_are_frames(workspace: Workspace, shell: Shell) -> None:
    shell.run("import pandas as pd\nfor key in ('a', 'north/b', 'north/deep/c.csv'):\n"
              "    a360ai.write_dataset(pd.DataFrame({'x': [1]}), key)")  # fmt: skip
    assert list(shell.run("%a360 datasets").base_name) == ["a.parquet", "north"]
    assert list(shell.run("found = %a360 datasets north\nfound").base_name) == ["b.parquet", "deep"]
    keys = list(shell.run("%a360 datasets --recursive").key)
    assert keys == ["a.parquet", "north/b.parquet", "north/deep/c.csv"]
    shell.run(SET_UP)
    for score in (1, 3, 2):
        shell.run(f"with experiment.run_experiment() as run: run.log_metrics({{'score': {score}}})")
    assert list(shell.run("%a360 runs --sort score --top 2").metric_score) == [3, 2]
    best = shell.run("%a360 runs 'Least squares' --sort metric_score --ascending --top 1")
    assert list(best.metric_score) == [1]
    assert "metric_score" in shell.refused("%a360 runs --sort speed")
    assert "north/deep/d" in shell.refused("%a360 datasets north/deep/d")


def test_a_cell_as_a_run(workspace: Workspace, shell: Shell) -> None:
    shell.run(SET_UP)
    assert shell.run(RUN) == 1.0
    said = shell.said()
    assert ": 1.0\n" in said  # the value of the last line is shown as always
    run = shell.shell.user_ns["run"]
    assert f"Run {run.id} of Least squares: finished." in said
    (stored,) = workspace.runs(run.experiment)
    assert (stored["id"], stored["status"]) == (run.id, "finished")
    assert stored["hyperparameters"] == {"fit_intercept": True}
    assert stored["metrics"] == {"score": 1.0, "rows": 20}
    assert stored["metadata"]["by"] == "hand"
    assert {"trained_model", "trained_model_native"} <= {each["name"] for each in stored["artifacts"]}


def test_a_failing_cell_is_a_failed_run_and_raises_as_usual(workspace: Workspace, shell: Shell) -> None:
    shell.run(SET_UP)
    shell.said()
    result = shell.shell.run_cell("%%a360_run experiment --metrics score\nscore = 1\nscore / 0\n")
    assert isinstance(result.error_in_exec, ZeroDivisionError)
    text = shell.said()
    assert "ZeroDivisionError" in text
    assert "score / 0" in text  # the line of the cell, and none of the kit's
    assert "a360mdk" not in text
    (run,) = workspace.runs(shell.shell.user_ns["experiment"])
    assert (run["status"], run["error"], run["metrics"]) == (
        "failed",
        "ZeroDivisionError: division by zero",
        {},
    )
    # Names that nothing defines are refused before anything runs.
    said = shell.refused("%%a360_run experiment --metrics accuracy\nx = 1\n")
    assert "no variable 'accuracy'" in said
    assert "neither a variable nor an experiment of tides 1.0" in shell.refused("%%a360_run other\nx = 1\n")
    assert len(workspace.runs(shell.shell.user_ns["experiment"])) == 1
    # What the platform refuses after the cell is a line, and a failed run.
    assert "cannot be stored" in shell.refused("%%a360_run experiment --model fitted\nfitted = 'no model'\n")
    assert [each["status"] for each in workspace.runs(shell.shell.user_ns["experiment"])] == ["failed"] * 2


@pytest.mark.parametrize("name", ["", " status", " datasets", " runs", " capture", " package", " publish"])
def test_help(shell: Shell, name: str) -> None:
    shell.said()
    assert shell.run(f"%a360{name} --help") is None
    assert f"usage: %a360{name}" in shell.said()


def test_help_of_the_cell_magic_runs_nothing(shell: Shell) -> None:
    shell.run("%%a360_run --help\nraise AssertionError\n")
    assert "usage: %%a360_run" in shell.said()


def test_mistakes_are_one_line_and_a_hint(shell: Shell) -> None:
    assert "invalid choice: 'stats'" in shell.refused("%a360 stats")
    assert "%a360 runs --help shows" in shell.refused("%a360 runs --top many")
    assert "no current experiment" in shell.refused("%a360 runs")
    said = shell.refused("%a360 package --git https://example.org/m.git --script predict.py")
    assert said.splitlines()[1].startswith("Name one with --model")
    shell.run("a360ai.get_or_create_model('tides')")
    assert "no model 'other'" in shell.refused("%a360 status --model other")
    assert "quotes" in shell.refused("%a360 status --model 'tides")
    assert "cannot be the name of a variable" in shell.refused("%a360 publish --key-into a.b")
    shell.run("kept, a360ai = a360ai, None")
    assert "a360ai = A360AI()" in shell.refused("%a360 status")
    shell.run("a360ai = kept")


def test_tab(workspace: Workspace, shell: Shell, monkeypatch: Any) -> None:
    monkeypatch.setattr(completion, "PATIENCE", 60)  # a busy machine is not what is tested
    assert shell.completed("%a360 st") == ["%a360 status"]
    assert shell.completed("found = %a360 da") == ["found = %a360 datasets"]
    assert "%a360 publish --key-into" in shell.completed("%a360 publish --k")
    assert shell.completed("%a360 package --input-format ") == [
        "%a360 package --input-format JSON",
        "%a360 package --input-format Text",
    ]
    shell.run(SET_UP)
    shell.run("import pandas as pd\nfor key in ('a', 'north/b', 'north/deep/c.csv'):\n"
              "    a360ai.write_dataset(pd.DataFrame({'x': [1]}), key)")  # fmt: skip
    shell.run("with experiment.run_experiment() as run: run.log_metrics({'score': 1})")
    assert shell.completed("%a360 datasets no") == ["%a360 datasets north/"]
    assert shell.completed("%a360 datasets north/") == ["%a360 datasets north/deep/"]
    assert shell.completed("%a360 status --model t") == ["%a360 status --model tides"]
    assert shell.completed("%a360 runs 'Le") == ["%a360 runs 'Least squares'"]
    assert shell.completed("%a360 runs exp") == ["%a360 runs experiment"]
    assert shell.completed("%a360 runs --sort me") == ["%a360 runs --sort metric_score"]
    assert shell.completed("%%a360_run exp") == ["%%a360_run experiment"]
    assert "%%a360_run experiment --metrics X" in shell.completed("%%a360_run experiment --metrics ")
    assert shell.completed('a360ai.load_dataset("north/') == [
        'a360ai.load_dataset("north/b.parquet',
        'a360ai.load_dataset("north/deep/',
    ]
    assert shell.completed("m = a360ai.get_or_create_model(model_name='ti") == [
        "m = a360ai.get_or_create_model(model_name='tides"
    ]
    assert shell.completed('model.get_or_create_experiment("L') == [
        'model.get_or_create_experiment("Least squares'
    ]
    assert "np.arange" in shell.completed("np.aran")  # everything else is as it was


def test_tab_waits_for_nobody(shell: Shell, monkeypatch: Any) -> None:
    from a360mdk import A360AI

    monkeypatch.setattr(completion, "PATIENCE", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/api/v1"
        shell.shell.user_ns["a360ai"] = A360AI(api_url=url)
        began = time.monotonic()
        assert "%a360 status --model tides" not in shell.completed("%a360 status --model t")
        assert time.monotonic() - began < READ_SECONDS / 2  # the client itself would wait for all of them


def review(service: ServiceProcess, model_id: str, project_id: str) -> None:
    """Have a model approved."""
    with service.client("scientist") as mine, service.client("reviewer") as theirs:
        ok(mine.put(f"/projects/{project_id}/collaborators/reviewer"))
        ok(mine.post(f"/models/{model_id}/submit", json={"reviewer": "reviewer"}))
        ok(theirs.post(f"/models/{model_id}/approve", json={}))


def capture_by_page(shell: Shell, cell: str, workspace: Workspace, monkeypatch: Any) -> None:
    """Run the page's cell about captures, with a server as a kernel has one around it."""
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("print(depth, region)")])
    nbformat.write(made, "report.ipynb")
    server = Server(workspace.home)
    try:
        monkeypatch.setenv("A360_SERVER_URL", server.url)
        monkeypatch.setenv("A360_SERVER_TOKEN", "secret")
        shell.run(cell)
        done = shell.shell.user_ns["done"]
        assert "4 north" in Path(done.save_notebook()).read_text()
    finally:
        server.stop()


@pytest.mark.row("M013", "M041", "M042", "M043")
def test_what_the_page_says_from_the_first_run_to_a_call(
    tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    (yaml_sample,) = samples(PAGE, "yaml")
    look, frames, cell, capture, deliver, define = (sample.text for sample in samples(PAGE, "ipython"))
    with delivery_service(tmp_path / "service") as service:
        workspace = make_workspace(service, tmp_path / "home", monkeypatch)
        shell = Shell(tmp_path / "ipython", capsys)
        try:
            shell.run(WINE)
            shell.run(cell)
            shell.run(frames)
            names = shell.shell.user_ns
            assert list(names["wines"].base_name) == ["wine.csv"]
            assert list(names["best"]["metadata_features"]) == [2]
            shell.run("model.set_final_run(experiment, best.id.values[0])")
            capture_by_page(shell, capture, workspace, monkeypatch)
            review(service, names["model"].id, workspace.project["id"])
            repository = make_repository(tmp_path / "code")
            refused = f"%a360 package --git {repository} --script other.py --wait"
            assert "no file other.py" in shell.refused(refused)
            said = shell.refused(f"{refused} --wrapper mqtt --listen-topic ask/+ --respond-topic ask/me")
            assert "respond_topic" in said
            assert "answers would be answered without end" in said
            shell.run(f"repository = {repository!r}")
            shell.run(deliver)
            said = shell.said()
            key = names["wine_key"]
            assert key.startswith("a360_")
            assert key not in said
            assert "The package is ready (bundle" in said
            url = ok(workspace.client.get(f"/models/{names['model'].id}/endpoint"))["url"]
            assert f"{url} answers, 1 of 1 replicas." in said
            (expected,) = names["forest"].predict(names["sample"])
            answer = call(url, key, names["sample"]).json()
            assert answer["prediction"] == pytest.approx(expected, rel=1e-5)
            assert "Published" in shell.refused("%a360 publish")
            shell.run(look)
            assert f"{url}: running" in shell.said()
            ok(workspace.client.post(f"/models/{names['model'].id}/withdraw"))

            Path("wine.yaml").write_text(yaml_sample.text)
            shell.run(define)
            assert [each["experiment_name"] for each in yaml.safe_load(Path("exported.yaml").read_text())[
                "experiments"]] == ["Forest", "Signature only"]  # fmt: skip
        finally:
            shell.close()
            workspace.close()
