"""The close of a run: everything is written to the data repo, then registered in one call, or nothing is."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from a360mdk import artifacts, flavors, notebooks, parity, signature
from a360mdk.artifacts import Artifact
from a360mdk.client import Unreachable, refusal, unreachable_text
from a360mdk.exceptions import FileSystemError, RunError
from a360mdk.flavors.base import Conversion, Flavor, InputSchema
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
    sample = parity.sample(run.train_features)
    if run.preprocessor is not None:
        _write_preprocessor(run, writer, sample)
        sample = _as_the_model_takes_it(run, flavor, sample)
    meter.advance(label="Close the run: model")
    if run.trained_model is not None:
        _write_model(run, writer, flavor, sample)
    meter.advance(label="Close the run: baseline")
    if run.baseline:
        with writer.open(artifacts.BASELINE, ".json") as sink:
            sink.write(json.dumps(run.baseline, allow_nan=False).encode())
    meter.advance(label="Close the run: notebooks")
    _write_notebooks(run, writer)
    meter.advance()


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


def _write_preprocessor(run: "Run", writer: Writer, sample: parity.Sample) -> None:
    flavor = flavors.get("sklearn")  # whatever the model, preprocessors are scikit-learn's
    schema = InputSchema(
        names=run.experiment.feature_names or [], types=_types(run), width=run.preprocessor_shape
    )
    chosen, _ = _convert(flavor, run.preprocessor, schema, sample, "preprocessor")
    with writer.open(artifacts.PREPROCESSOR, ".onnx") as sink:
        sink.write(chosen.graph)


def _as_the_model_takes_it(run: "Run", flavor: Flavor, sample: parity.Sample) -> parity.Sample:
    """Preprocess the rows if need be: train_features may hold them before or after the preprocessor."""
    named_before = hasattr(run.preprocessor, "feature_names_in_")
    named_after = hasattr(run.trained_model, "feature_names_in_")
    if parity.fits(flavor, run.trained_model, sample.rows) and (named_after or not named_before):
        return sample
    transformed = parity.answered(flavors.get("sklearn"), run.preprocessor, sample)
    return sample if transformed is None else replace(sample, rows=transformed.answers)


def _write_model(run: "Run", writer: Writer, flavor: Flavor, sample: parity.Sample) -> None:
    schema = InputSchema(
        names=run.experiment.feature_names or [],
        types=_types(run),
        tensors=signature.tensors(run.experiment.input_signature),
        tokenizer=run.tokenizer,
        pipeline_name=run.pipeline_name,
    )
    if hasattr(flavor, "as_rows"):
        sample = parity.prepared(flavor, sample, schema)
    chosen, result = _convert(flavor, run.trained_model, schema, sample, "model")
    if result is not None:
        run.metadata.update(result.metadata())
    with writer.open(artifacts.TRAINED_MODEL, ".onnx") as sink:
        sink.write(chosen.graph)
    if flavor.native_suffix is not None:
        with writer.open(artifacts.NATIVE_MODEL, flavor.native_suffix) as sink:
            flavor.save(run.trained_model, sink)


def _convert(
    flavor: Flavor, model: Any, schema: InputSchema, sample: parity.Sample, what: str
) -> tuple[Conversion, parity.Parity | None]:
    """Return the first conversion that answers like the original; without fitting rows simply the first."""
    taken = parity.answered(flavor, model, sample)
    refused: parity.Parity | None = None
    for conversion in flavor.conversions(model, schema):
        if taken is None:
            return conversion, None
        try:
            result = parity.compare(conversion.graph, taken)
        except ValueError as error:
            if refused is not None:
                continue  # the second way does not run at all: the first one's differences are the news
            raise RunError(
                f"The {what} was not logged: its ONNX form cannot be used.",
                str(error),
                "Report this estimator to the operator of the platform; another estimator may do.",
            ) from error
        if result.passed:
            return conversion, result
        refused = refused or result
    assert refused is not None, "conversions yields at least one, or raises"
    raise parity.refuse(what, refused)


def _types(run: "Run") -> dict[str, str]:
    return signature.column_types(run.experiment.input_signature, run.experiment.feature_names or [])


def _register(run: "Run", writer: Writer) -> None:
    """Tell the service; on a refusal, or when it certainly heard nothing, take the files away again."""
    body = {**run.log_document(), "status": "finished", "artifacts": [a.document() for a in writer.written]}
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
