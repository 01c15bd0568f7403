"""The close of a run: everything is written to the data repo, then registered in one call, or nothing is."""

import json
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from a360mdk import artifacts, certifying, flavors, notebooks, signature
from a360mdk.artifacts import Artifact
from a360mdk.client import Unreachable, refusal, unreachable_text
from a360mdk.exceptions import FileSystemError, RunError
from a360mdk.flavors.base import Flavor, InputSchema
from a360mdk.progress import Meter
from a360mdk.transfer import HashingWriter

if TYPE_CHECKING:
    from a360mdk.datarepo import DataRepo
    from a360mdk.run import Run


class Writer:
    """Writes the artifacts of one run below its prefix and remembers them."""

    def __init__(self, repo: "DataRepo", prefix: str) -> None:
        self._repo = repo
        self._prefix = prefix.strip("/")
        self.written: list[Artifact] = []

    @contextmanager
    def open(self, name: str, suffix: str) -> Iterator[HashingWriter]:
        """Open the file of an artifact; it is there, and remembered, when the block ends well."""
        key = f"{self._prefix}/{name}{suffix}"
        with self._repo.filesystem.writer(key) as sink:
            yield sink
        stored = sink.stored()
        self.written.append(Artifact(name, artifacts.KINDS[name], key, stored.size, stored.sha256))

    def discard(self) -> None:
        """Remove what was written, as far as the storage lets us."""
        for artifact in self.written:
            try:
                self._repo.filesystem.delete_file(artifact.file_key)
            except FileSystemError:
                continue  # the run is marked failed either way, so nobody refers to the file
        self.written.clear()


def close(run: "Run") -> list[Artifact]:
    """Write and register all that a finished run leaves.

    Args:
        run: an open run whose block ended well.

    Returns:
        The registered artifacts.

    Raises:
        RunError: something could not be converted, written or registered. The run is then marked failed, its
            files are removed and nothing is registered.
    """
    writer = Writer(run.data_repo, run.artifact_prefix)
    try:
        _write_all(run, writer)
    except BaseException as error:
        writer.discard()
        run.report_failure(error)
        if isinstance(error, RunError) or not isinstance(error, Exception):
            raise
        raise RunError(
            "The run was not logged.",
            f"{type(error).__name__}: {error}",
            "Nothing of it was registered; solve this and run the cell again.",
        ) from error
    _register(run, writer)
    return writer.written


def _write_all(run: "Run", writer: Writer) -> None:
    """Write one artifact after the other, and show which one where that takes long."""
    with Meter("Close the run: preprocessor", 4, " artifacts") as meter:
        _write_in_turn(run, writer, meter)


def _write_in_turn(run: "Run", writer: Writer, meter: Meter) -> None:
    flavor = flavors.get(run.experiment.model_flavor)
    chosen = certifying.choose(_subject(run, flavor))
    _keep_certificate(run, chosen)
    if chosen.preprocessor is not None:
        with writer.open(artifacts.PREPROCESSOR, ".onnx") as sink:
            sink.write(chosen.preprocessor)
    meter.advance(label="Close the run: model")
    if chosen.model is not None:
        _write_model(run, writer, flavor, chosen.model)
    meter.advance(label="Close the run: baseline")
    if run.baseline:
        with writer.open(artifacts.BASELINE, ".json") as sink:
            sink.write(json.dumps(run.baseline, allow_nan=False).encode())
    meter.advance(label="Close the run: notebooks")
    _write_notebooks(run, writer)
    meter.advance()


def _subject(run: "Run", flavor: Flavor) -> certifying.Subject:
    names, types = run.experiment.feature_names or [], _types(run)
    return certifying.Subject(
        flavor,
        run.trained_model,
        run.preprocessor,
        InputSchema(
            names=names,
            types=types,
            tensors=signature.tensors(run.experiment.input_signature),
            tokenizer=run.tokenizer,
            pipeline_name=run.pipeline_name,
        ),
        InputSchema(names=names, types=types, width=run.preprocessor_shape),
        run.train_features,
        run.tokenizer,
    )


def _keep_certificate(run: "Run", chosen: certifying.Chosen) -> None:
    if chosen.certificate is not None:
        run.certify(chosen.certificate.document())
        run.metadata.update(chosen.certificate.metadata())
    elif chosen.model is not None:
        warnings.warn(
            "The run is stored without a certificate: there were no rows on which its model could be "
            "compared with its ONNX form. It cannot be packaged. Give the experiment "
            "train_features as the model, or the preprocessor before it, takes them, and run again.",
            UserWarning,
            stacklevel=2,
        )


def _write_notebooks(run: "Run", writer: Writer) -> None:
    for attribute, name in artifacts.NOTEBOOKS.items():
        given = getattr(run, attribute)
        path = notebooks.locate(given) if given else None
        if given and path is None:
            raise RunError(
                f"{attribute} names a file that is no longer there.",
                str(given),
                "Restore it, or correct the name.",
            )
        if path is None and attribute == "model_training_file":
            path = notebooks.current_notebook()
        if path is not None:
            with path.open("rb") as source, writer.open(name, path.suffix) as sink:
                shutil.copyfileobj(source, sink)


def _write_model(run: "Run", writer: Writer, flavor: Flavor, graph: bytes) -> None:
    with writer.open(artifacts.TRAINED_MODEL, ".onnx") as sink:
        sink.write(graph)
    if flavor.native_suffix is not None:
        with writer.open(artifacts.NATIVE_MODEL, flavor.native_suffix) as sink:
            flavor.save(run.trained_model, sink)


def _types(run: "Run") -> dict[str, str]:
    return signature.column_types(run.experiment.input_signature, run.experiment.feature_names or [])


def _register(run: "Run", writer: Writer) -> None:
    """Tell the service; on a refusal, or when it certainly heard nothing, take the files away again."""
    body = {**run.log_document(), "status": "finished", "artifacts": [a.document() for a in writer.written]}
    if run.certificate is not None:
        body["certificate"] = run.certificate
    try:
        # The call is idempotent by contract, so a lost answer may be asked for again.
        response = run.client.send("POST", f"/runs/{run.id}/finish", body=body, repeatable=True)
    except Unreachable as lost:
        what, why, hint = unreachable_text(run.client.base_url, lost)
        if lost.maybe_done:
            raise RunError(
                "The run could not be closed: the answer of the A360 service was lost.",
                why,
                "experiment.list_runs() shows whether it was registered; if not, run the cell again.",
            ) from lost
        writer.discard()
        raise RunError("The run was not logged: " + what[0].lower() + what[1:], why, hint) from lost
    except BaseException as interrupted:  # Ctrl-C while waiting
        if run.report_failure(interrupted):
            writer.discard()
        raise
    if not response.ok:
        error = refusal(response, RunError)
        writer.discard()
        run.report_failure(error)
        raise error


def describe_failure(error: BaseException) -> str:
    """The text a failed run keeps: class and message, at most 2,000 characters."""
    return f"{type(error).__name__}: {error}".strip()[:2000]
