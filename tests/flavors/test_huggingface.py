"""Hugging Face: transformers made from a configuration, and a tokenizer made of the words at hand."""

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

transformers = pytest.importorskip(
    "transformers", reason="needs the environment of an image: make test-flavors"
)

import torch  # noqa: E402
from tokenizers import Tokenizer, models, pre_tokenizers, processors  # noqa: E402

from a360mdk import parity, samples  # noqa: E402
from a360mdk.exceptions import ArtifactError, RunError  # noqa: E402
from a360mdk.flavors import get  # noqa: E402
from a360mdk.flavors.base import InputSchema  # noqa: E402
from tests.flavors.checks import converted, schema_of  # noqa: E402

pytestmark = pytest.mark.flavors
HUGGINGFACE = get("huggingface")
TEXTS = [
    "good service and friendly people",
    "bad food",
    "the food was good but the people were not friendly at all",
    "never again",
    "friendly",
] * 8
WORDS = sorted({word for text in TEXTS for word in text.split()})
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


BERT_INPUTS = ("input_ids", "token_type_ids", "attention_mask")
INPUTS = dict.fromkeys(("roberta", "gpt2"), ("input_ids", "attention_mask"))


def tokenizer(inputs: tuple[str, ...] = BERT_INPUTS) -> Any:
    """A tokenizer of whole words."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(special + WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=32,
        model_input_names=list(inputs),
    )


def config(kind: str, **more: Any) -> Any:
    """A configuration of a few thousand weights."""
    sizes = dict(SIZES)
    if kind == "distilbert":
        sizes = {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32}
    if kind == "albert":
        sizes |= {"embedding_size": 8}
    if kind == "gpt2":
        sizes = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64}
    vocabulary = {"vocab_size": len(WORDS) + 4, "pad_token_id": 0}
    known = {"max_position_embeddings": 64} if kind != "gpt2" else {}
    return transformers.AutoConfig.for_model(kind, **sizes, **vocabulary, **known, **more)


def classifier(kind: str = "bert", **more: Any) -> Any:
    torch.manual_seed(3)
    return transformers.AutoModelForSequenceClassification.from_config(config(kind, **more))


def logits(model: Any, texts: list[str], tokens: Any) -> Any:
    """What people call native: the model on the tokenizer's tensors."""
    given = tokens(texts, padding=True, truncation=True, return_tensors="pt")
    if "distil" in type(model).__name__.lower():
        given.pop("token_type_ids", None)
    with torch.no_grad():
        return model.eval()(**given).logits.numpy()


@pytest.mark.row("M006", "M009", "M127", "M144")
@pytest.mark.parametrize("kind", ["bert", "distilbert", "roberta", "albert", "electra", "gpt2"])
def test_graphs_answer_like_their_models(kind: str) -> None:
    model, tokens = classifier(kind, num_labels=3).train(), tokenizer(INPUTS.get(kind, BERT_INPUTS))
    graph, result = converted(
        HUGGINGFACE, model, TEXTS, tokenizer=tokens, pipeline_name="text-classification"
    )
    assert model.training
    assert result.rows == len(TEXTS)
    for texts in (TEXTS[:1], TEXTS[3:4], TEXTS):
        inputs = tokens(texts, padding=True, truncation=True, return_tensors="np")
        outputs = graph.predict(inputs, "huggingface")
        assert isinstance(outputs, list)
        np.testing.assert_allclose(outputs[0][0], logits(model, texts, tokens)[0], rtol=1e-3, atol=1e-5)
        assert outputs[0].shape == (len(texts), 3)


@pytest.mark.row("M006")
def test_models_that_answer_tuples_are_stored_as_well() -> None:
    model, tokens = classifier("bert", num_labels=3), tokenizer()
    expected = logits(model, TEXTS[:3], tokens)
    model.config.return_dict = False
    graph, _ = converted(HUGGINGFACE, model, TEXTS, tokenizer=tokens)
    inputs = tokens(TEXTS[:3], padding=True, truncation=True, return_tensors="np")
    np.testing.assert_allclose(graph.predict(inputs, "huggingface")[0], expected, rtol=1e-3, atol=1e-5)
    assert model.config.return_dict is False


def test_what_tokenizers_give_is_taken_in_every_form() -> None:
    tokens = tokenizer()
    graph, _ = converted(HUGGINGFACE, classifier(), TEXTS, tokenizer=tokens)
    one = tokens(TEXTS[0], return_tensors="np")
    expected = graph.predict(one, "huggingface")[0]
    for form in (dict(one), tokens([TEXTS[0]]), {name: value.tolist() for name, value in one.items()}):
        np.testing.assert_array_equal(graph.predict(form, "huggingface")[0], expected)
    torched = tokens(TEXTS[0], return_tensors="pt")
    np.testing.assert_array_equal(graph.predict(torched, "huggingface")[0], expected)
    np.testing.assert_array_equal(graph.predict(dict(one)), expected)


@pytest.mark.row("M127")
def test_a_regression_answers_one_value_a_text() -> None:
    model = classifier(num_labels=1, problem_type="regression")
    graph, result = converted(
        HUGGINGFACE, model, TEXTS, tokenizer=tokenizer(), pipeline_name="text-regression"
    )
    assert result.max_difference is not None
    inputs = tokenizer()(TEXTS[:5], padding=True, return_tensors="np")
    assert graph.predict(inputs, "huggingface")[0].shape == (5, 1)


TRAINING = {
    "a Series": pd.Series(TEXTS),
    "an array": np.array(TEXTS),
    "a frame": pd.DataFrame({"text": TEXTS, "stars": range(len(TEXTS))}),
    "a column of an array": np.array(TEXTS).reshape(-1, 1),
}


@pytest.mark.parametrize("form", TRAINING)
def test_training_texts_come_in_many_forms(form: str) -> None:
    _, result = converted(HUGGINGFACE, classifier(), TRAINING[form], tokenizer=tokenizer())
    assert result.rows == len(TEXTS)


def test_training_data_may_be_tokenized_already() -> None:
    tokens = tokenizer()
    given = tokens(TEXTS, padding=True, return_tensors="np")
    text = schema_of(dict(given)).tensors
    assert text["input_ids"] == ("int64", given["input_ids"].shape[1:])
    for features in (given, dict(given), given["input_ids"], torch.as_tensor(given["input_ids"])):
        for known in (tokens, None):
            _, result = converted(HUGGINGFACE, classifier(), features, tokenizer=known)
            assert result.rows == len(TEXTS)


def test_without_training_data_sentences_of_our_own_are_compared() -> None:
    for known in (tokenizer(), None):
        _, result = converted(HUGGINGFACE, classifier(), None, tokenizer=known)
        assert result.rows == 4


def test_pipelines_and_trainers_are_unwrapped() -> None:
    model, tokens = classifier(), tokenizer()
    pipeline = transformers.pipeline("text-classification", model=model, tokenizer=tokens)
    assert HUGGINGFACE.unwrap(pipeline) is model
    assert HUGGINGFACE.unwrap(model) is model
    with pytest.raises(RunError, match="neither a transformers model"):
        HUGGINGFACE.unwrap(torch.nn.Linear(2, 2))


def test_other_heads_keep_all_their_outputs() -> None:
    torch.manual_seed(3)
    model = transformers.AutoModelForQuestionAnswering.from_config(config("bert"))
    graph, _ = converted(HUGGINGFACE, model, TEXTS, tokenizer=tokenizer(), pipeline_name="question-answering")
    inputs = tokenizer()(TEXTS[:3], padding=True, return_tensors="np")
    start, end = graph.predict(inputs, "huggingface")
    assert start.shape == end.shape == inputs["input_ids"].shape
    tagger = transformers.AutoModelForTokenClassification.from_config(config("bert", num_labels=4))
    graph, _ = converted(HUGGINGFACE, tagger, TEXTS, tokenizer=tokenizer(), pipeline_name="ner")
    assert graph.predict(inputs, "huggingface")[0].shape == (*inputs["input_ids"].shape, 4)


@pytest.mark.row("M008")
def test_no_native_copy_is_stored() -> None:
    assert HUGGINGFACE.native_suffix is None
    with pytest.raises(ArtifactError, match="no native copy"):
        HUGGINGFACE.load(None)


def test_what_cannot_be_stored_is_refused_by_name() -> None:
    with pytest.raises(RunError, match=re.escape("The pipeline 'text-generation' cannot be stored")):
        next(HUGGINGFACE.conversions(classifier(), InputSchema(pipeline_name="text-generation")))
    sizes = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2}
    summariser = transformers.BartForConditionalGeneration(
        transformers.BartConfig(
            vocab_size=40,
            decoder_attention_heads=2,
            encoder_ffn_dim=16,
            decoder_ffn_dim=16,
            max_position_embeddings=32,
            **sizes,
        )
    )
    with pytest.raises(RunError, match="BartForConditionalGeneration cannot be stored"):
        next(HUGGINGFACE.conversions(summariser, InputSchema()))
    with pytest.raises(RunError, match="there is no tokenizer to read it"):
        HUGGINGFACE.prepared_rows(classifier(), TEXTS, None)
    unpadded = tokenizer()
    unpadded.pad_token = None
    with pytest.raises(RunError, match=r"set tokenizer\.pad_token"):
        HUGGINGFACE.prepared_rows(classifier(), TEXTS, unpadded)


def test_tokens_a_model_does_not_know_are_no_rows_of_its() -> None:
    rows = {"input_ids": np.full((2, 5), 9999), "attention_mask": np.ones((2, 5), dtype="int64")}
    for given in (rows, np.zeros((2, 5))):
        assert parity.ask(HUGGINGFACE, classifier(), samples.sampled(given)) is None
