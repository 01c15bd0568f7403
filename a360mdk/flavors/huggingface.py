"""Hugging Face: transformers models that read a text and answer in one pass.

No native copy is stored (the model is to be had from where it came from); the graph takes what the tokenizer
gives, for any number of rows and tokens.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from a360mdk.exceptions import ArtifactError, RunError
from a360mdk.flavors.base import Conversion, InputSchema
from a360mdk.flavors.graphs import quiet, try_rows
from a360mdk.flavors.torch_graph import evaluating, export
from a360mdk.signature import as_array

PIPELINES = (
    *("text-classification", "sentiment-analysis", "text-regression", "zero-shot-classification"),
    *("token-classification", "ner", "question-answering", "fill-mask", "feature-extraction"),
)
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
_ALWAYS = ("input_ids", "attention_mask")
_OUTPUTS = ("logits", "start_logits", "end_logits", "last_hidden_state", "pooler_output")
_TOKENS = 6
_EXAMPLES = (
    "This is a sentence.",
    "Another one, which is a little longer than the first: it has more words.",
    "Short",
    "Numbers like 12 and 3.5, and a question?",
)


class HuggingfaceFlavor:
    """Stores transformers models of PyTorch that ``torch.onnx`` can convert."""

    name = "huggingface"
    native_suffix: str | None = None
    answers_missing = False
    relative = 1e-5
    packages = ("transformers", "tokenizers", "torch", "onnxscript")

    def unwrap(self, model: Any) -> Any:
        """Return the model itself: of a pipeline or a trainer the one inside."""
        from transformers import PreTrainedModel

        if not isinstance(model, PreTrainedModel) and isinstance(
            getattr(model, "model", None), PreTrainedModel
        ):
            model = model.model
        if not isinstance(model, PreTrainedModel):
            raise RunError(
                f"A {type(model).__name__} cannot be stored by an experiment of the flavor huggingface.",
                "It is neither a transformers model, nor a pipeline or trainer with one.",
                "Log the model, and give the experiment its tokenizer and pipeline_name.",
            )
        return model

    def width(self, model: Any) -> int | None:
        """Return None: texts have no columns."""
        return None

    def prepared_rows(self, model: Any, rows: Any, tokenizer: Any) -> Any:
        """Return training data as the tokenizer gives it.

        Args:
            model: what takes it.
            rows: texts (a list, an array, a Series, a frame with one column of text), an array of token
                numbers, or the tokenizer's dict; all else is returned as it is.
            tokenizer: the experiment's.

        Raises:
            RunError: texts, and no tokenizer to read them.
        """
        if isinstance(rows, Mapping):
            return _completed({str(name): as_array(values) for name, values in rows.items()}, tokenizer)
        texts = _texts(rows)
        if texts is not None:
            return _tokenized(tokenizer, texts)
        array = as_array(rows)
        if array.ndim == 2 and array.dtype.kind in "iu":
            return _completed({"input_ids": array}, tokenizer)
        return rows

    def made_rows(self, model: Any, schema: InputSchema) -> Any:
        """Return sentences of our own, as the tokenizer gives them; made-up tokens where there is none."""
        if schema.tokenizer is not None:
            return _tokenized(schema.tokenizer, list(_EXAMPLES))
        return _made_up(model, _input_names(model, schema), len(_EXAMPLES))

    def predict(self, model: Any, rows: Any) -> tuple[Any, bool]:
        """Return the first raw output (logits) in evaluation mode; never labels.

        Raises:
            ValueError: rows that are no tokens.
        """
        import torch

        if not isinstance(rows, Mapping):
            raise ValueError("a transformers model takes what its tokenizer gives")
        names = _taken(model)
        mode = model.training
        model.eval()
        try:
            with torch.no_grad(), quiet():
                given = {
                    name: torch.as_tensor(as_array(values)).long().to(model.device)
                    for name, values in rows.items()
                    if name in names
                }
                answer = _outputs(model(**given, return_dict=True))[0]
        finally:
            model.train(mode)
        return answer.detach().float().cpu().numpy(), False

    def conversions(self, model: Any, schema: InputSchema) -> Iterator[Conversion]:
        """Yield the one graph there is, with all raw outputs."""
        import torch

        if schema.pipeline_name is not None and schema.pipeline_name not in PIPELINES:
            raise RunError(
                f"The pipeline {schema.pipeline_name!r} cannot be stored.",
                "A stored model answers a text in one pass, it does not generate.",
                f"Use one of: {', '.join(PIPELINES)}.",
            )
        if model.can_generate():
            raise RunError(
                f"The {type(model).__name__} cannot be stored.",
                "It generates its answer in many passes.",
                f"Use a model for one of: {', '.join(PIPELINES)}.",
            )
        names = _input_names(model, schema)
        twin = evaluating(model)
        twin.set_attn_implementation("eager")  # the form of attention that is plain operators
        twin.config.use_cache = False
        flat = _flat(twin, names)

        def rows_of(count: int) -> dict[str, Any]:
            return _made_up(model, names, count)

        def native(rows: dict[str, Any]) -> Any:
            with torch.no_grad(), quiet():
                return flat([torch.as_tensor(values) for values in rows.values()])[0].numpy()

        any_length = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
        example = [torch.as_tensor(values) for values in rows_of(2).values()]
        graph = export(flat, {"inputs": example}, names, {"inputs": [any_length] * len(names)})
        try_rows(type(model).__name__, graph, native, rows_of)
        yield Conversion("float32", graph)

    def save(self, model: Any, sink: Any) -> None:
        """Write nothing: no native copy is stored."""

    def load(self, path: Path) -> Any:
        """Refuse: there is no native copy.

        Raises:
            ArtifactError: always.
        """
        raise ArtifactError(
            "There is no native copy of a Hugging Face model.",
            "Runs of this flavor store the ONNX form only.",
            'Use get_artifact("trained_model"), or the model from where it came from.',
        )


def _input_names(model: Any, schema: InputSchema) -> list[str]:
    """What the model takes of what the tokenizer gives, or, without one, of what the training data holds.

    Raises:
        RunError: the model does not read tokens.
    """
    given = getattr(schema.tokenizer, "model_input_names", None)
    if given is None:
        given = {*(schema.tensors if "input_ids" in schema.tensors else ()), *_ALWAYS}
    names = [name for name in _taken(model) if name in given]
    if "input_ids" not in names:
        raise RunError(
            f"The {type(model).__name__} cannot be stored.",
            "It does not take token numbers (input_ids).",
            f"Use a model for one of: {', '.join(PIPELINES)}.",
        )
    return names


def _taken(model: Any) -> list[str]:
    import inspect

    taken = inspect.signature(model.forward).parameters
    return [name for name in _INPUTS if name in taken]


def _completed(rows: dict[str, Any], tokenizer: Any) -> dict[str, Any]:
    """Add what a tokenizer would have given beside the tokens."""
    import numpy

    tokens = rows.get("input_ids")
    if tokens is None:
        return rows
    padding = getattr(tokenizer, "pad_token_id", None)
    mask = numpy.ones_like(tokens) if padding is None else (tokens != padding).astype("int64")
    beside = {"attention_mask": mask, "token_type_ids": numpy.zeros_like(tokens)}
    wanted = getattr(tokenizer, "model_input_names", None) or _ALWAYS
    return {**rows, **{name: beside[name] for name in beside if name in wanted and name not in rows}}


def _flat(model: Any, names: Sequence[str]) -> Any:
    """A module that takes its inputs as a list and answers a tuple, which is what graphs do."""
    import torch

    class Flat(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, inputs: list[Any]) -> tuple[Any, ...]:
            given = dict(zip(names, inputs, strict=True))
            return _outputs(self.model(**given, return_dict=True))  # whatever its configuration says

    Flat.__name__ = type(model).__name__  # in what errors say
    return Flat().eval()


def _outputs(answer: Any) -> tuple[Any, ...]:
    found = tuple(answer[name] for name in _OUTPUTS if answer.get(name) is not None)
    if not found:
        raise RunError(
            "The model cannot be stored.",
            f"Its outputs are {', '.join(answer)}; known are {', '.join(_OUTPUTS)}.",
            "Use a model with a head, such as AutoModelForSequenceClassification.",
        )
    return found


def _made_up(model: Any, names: Sequence[str], count: int) -> dict[str, Any]:
    """So many rows of made-up tokens; more rows have more tokens, and the last one is padding."""
    import numpy

    random = numpy.random.default_rng(count)
    config = model.config.get_text_config()
    shape = (count, _TOKENS + count)
    padding = config.pad_token_id or 0
    tokens = random.integers(1, config.vocab_size, size=shape)
    tokens[tokens == padding] = (padding + 1) % config.vocab_size
    mask = numpy.ones(shape, dtype="int64")
    if count > 1:
        tokens[-1, -1], mask[-1, -1] = padding, 0
    made = {"input_ids": tokens, "attention_mask": mask, "token_type_ids": numpy.zeros(shape, dtype="int64")}
    return {name: made[name] for name in names}


def _texts(rows: Any) -> list[str] | None:
    """Rows as texts; None when they are something else."""
    if rows is None:
        return None
    if hasattr(rows, "columns"):
        found = [name for name in rows.columns if _all_text(rows[name].tolist())]
        return list(rows[found[0]]) if len(found) == 1 else None
    array = as_array(rows)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    values = array.tolist()
    return values if array.ndim == 1 and _all_text(values) else None


def _all_text(values: Sequence[Any]) -> bool:
    return bool(values) and all(isinstance(value, str) for value in values)


def _tokenized(tokenizer: Any, texts: list[str]) -> dict[str, Any]:
    if tokenizer is None:
        raise RunError(
            "The model was not logged: its training data is text, and there is no tokenizer to read it.",
            "The experiment was loaded without one; a tokenizer is not stored.",
            "Call get_or_create_experiment(..., tokenizer=tokenizer, pipeline_name=...) in this notebook.",
        )
    try:
        return dict(tokenizer(texts, padding=True, truncation=True, return_tensors="np"))
    except Exception as error:  # tokenizers without a padding token, for one
        raise RunError(
            "The model was not logged: its tokenizer does not read the training data.",
            f"{type(error).__name__}: {str(error).strip().splitlines()[0][:300]}",
            "It has to take a list of texts with padding=True; set tokenizer.pad_token where it has none.",
        ) from error


FLAVOR = HuggingfaceFlavor()
