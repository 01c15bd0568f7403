"""Choosing the ONNX forms of a run's model and preprocessor: the first that answer like the originals."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from a360mdk import flavors, parity, samples
from a360mdk.certificate import CHAIN, MODEL, PREPROCESSOR, Certificate, Check, opset, versions
from a360mdk.exceptions import RunError
from a360mdk.flavors import base
from a360mdk.flavors.base import Conversion, Flavor, InputSchema
from a360mdk.parity import Asked, Parity
from a360mdk.samples import Rows

if TYPE_CHECKING:
    from a360runtime.onnx_model import ONNXModel

_SHOWN = 10


@dataclass(frozen=True)
class Form:
    """One ONNX form and how it compared; ``parity`` is None without rows to compare on."""

    conversion: Conversion
    onnx: "ONNXModel | None"
    parity: Parity | None


class Forms:
    """The ONNX forms of one object, each converted and compared when it is first asked for.

    Args:
        what: "model" or "preprocessor".
        flavor, model, schema: what is converted.
        asked: rows and the object's own answers; None when there are none.
    """

    def __init__(
        self, what: str, flavor: Flavor, model: Any, schema: InputSchema, asked: Asked | None
    ) -> None:
        self.what, self.flavor, self.model, self.asked = what, flavor, model, asked
        self._conversions = flavor.conversions(model, schema)
        self._known: list[Form] = []
        self._refused: Parity | None = None
        self._unusable: Exception | None = None

    def passing(self) -> Iterator[Form]:
        """Yield the forms that answer like the original, the preferred one first."""
        yield from list(self._known)
        for conversion in self._conversions:
            if conversion.instead and (self._known or self._refused is not None):
                continue
            form = self._compared(conversion)
            if form is not None:
                self._known.append(form)
                yield form

    def _compared(self, conversion: Conversion) -> Form | None:
        from a360runtime.onnx_model import ONNXModel

        if self.asked is None:
            return Form(conversion, None, None)
        try:
            onnx = ONNXModel.from_bytes(conversion.graph)
            result = parity.compare(onnx, self.asked)
        except ValueError as error:
            self._unusable = self._unusable or error
            return None
        if result.passed:
            return Form(conversion, onnx, result)
        if self._refused is None:
            self._refused = _blamed(result, self.asked, self._native, lambda rows: onnx.outputs(rows.data))
        return None

    def _native(self, rows: Rows) -> Asked | None:
        return parity.ask(self.flavor, self.model, rows)

    def refusal(self) -> RunError:
        """Why none of the forms passes."""
        if self._refused is not None:
            return refuse(self.what, self._refused)
        return RunError(
            f"The {self.what} was not logged: its ONNX form cannot be used.",
            str(self._unusable),
            "Report this estimator to the operator of the platform; another estimator may do.",
        )


@dataclass(frozen=True)
class Chosen:
    """The graphs to store, and the certificate for them; None where nothing could be compared."""

    model: bytes | None
    preprocessor: bytes | None
    certificate: Certificate | None


@dataclass(frozen=True)
class Subject:
    """What a run is about to store.

    Attributes:
        flavor: of the model.
        model, preprocessor: the fitted objects; None for what was not logged.
        schema, preprocessor_schema: what is known of their inputs.
        features: the experiment's training features, from before or after the preprocessor.
        tokenizer: of a Hugging Face model.
    """

    flavor: Flavor
    model: Any
    preprocessor: Any
    schema: InputSchema
    preprocessor_schema: InputSchema
    features: Any = None
    tokenizer: Any = None


def choose(subject: Subject) -> Chosen:
    """Convert, compare, and choose.

    Raises:
        RunError: something cannot be converted, or no form of it answers like the original; with row and
            column.
    """
    if subject.preprocessor is None:
        if subject.model is None:
            return Chosen(None, None, None)
        forms = _model_forms(subject, subject.features)
        form = next(forms.passing(), None)
        if form is None:
            raise forms.refusal()
        return _chosen(subject, model=form)
    sklearn = flavors.get("sklearn")  # whatever the model, preprocessors are scikit-learn's
    raw, prepared = _sides(subject, sklearn)
    schema = replace(subject.preprocessor_schema, exact=True)
    many = None if subject.model is None else 10 * base.ROWS  # rounding may move single rows in the model
    before = _forms(PREPROCESSOR, sklearn, subject.preprocessor, schema, raw, count=many)
    if subject.model is None:
        form = next(before.passing(), None)
        if form is None:
            raise before.refusal()
        return _chosen(subject, preprocessor=form)
    chain = _behind(before, subject)
    if chain is not None:
        # What the model itself does not take is no matter of the preprocessor's either.
        before = Forms(PREPROCESSOR, sklearn, subject.preprocessor, schema, chain.before)
    if prepared is None and chain is not None:
        model = Forms(MODEL, subject.flavor, subject.model, subject.schema, chain.prepared)
    else:
        model = _model_forms(subject, prepared)
    return _pair(subject, before, model, chain)


@dataclass(frozen=True)
class _Chain:
    """Rows before and behind the preprocessor, and what both answer to them.

    Attributes:
        before: raw rows, and what the preprocessor makes of them.
        raw: the same rows, and what the model answers behind it.
        prepared: those rows prepared, and what the model answers.
    """

    before: Asked
    raw: Asked
    prepared: Asked


def _pair(subject: Subject, before: Forms, model: Forms, chain: _Chain | None) -> Chosen:
    """The first pair of forms that answers like the original pair, from raw rows to the end."""
    refused: Parity | None = None
    any_before = any_model = False
    for first in before.passing():
        any_before = True
        for second in model.passing():
            any_model = True
            if chain is None or first.onnx is None:
                return _chosen(subject, second, first)
            result = parity.compare(_opened(second), chain.raw, before=first.onnx)
            if result.passed:
                return _chosen(subject, second, first, result)
            refused = refused or _blamed_chain(subject, before, result, chain.raw, first, second)
        if not any_model:
            break
    if refused is not None:
        raise refuse("model", refused, chain=True)
    raise model.refusal() if any_before else before.refusal()


def _blamed_chain(
    subject: Subject, before: Forms, result: Parity, raw: Asked, first: Form, second: Form
) -> Parity:
    def native(rows: Rows) -> Asked | None:
        prepared = parity.ask(before.flavor, before.model, rows)
        if prepared is None:
            return None
        return parity.ask(subject.flavor, subject.model, Rows(prepared.answers.values, rows.places))

    def onnx(rows: Rows) -> list[Any]:
        assert first.onnx is not None
        return _opened(second).outputs(first.onnx.transform(rows.data))

    return _blamed(result, raw, native, onnx)


def _opened(form: Form) -> "ONNXModel":
    from a360runtime.onnx_model import ONNXModel

    return form.onnx if form.onnx is not None else ONNXModel.from_bytes(form.conversion.graph)


def _chosen(
    subject: Subject, model: Form | None = None, preprocessor: Form | None = None, chain: Parity | None = None
) -> Chosen:
    graphs = [None if form is None else form.conversion.graph for form in (model, preprocessor)]
    checks = [
        Check(what, form.conversion.label, form.parity, hashlib.sha256(form.conversion.graph).hexdigest())
        for what, form in ((PREPROCESSOR, preprocessor), (MODEL, model))
        if form is not None and form.parity is not None
    ]
    if len(checks) < sum(graph is not None for graph in graphs):
        return Chosen(graphs[0], graphs[1], None)
    if chain is not None and model is not None and preprocessor is not None:
        labels = f"{preprocessor.conversion.label}, {model.conversion.label}"
        checks.append(Check(CHAIN, labels, chain))
    certificate = Certificate(
        checks,
        opset(graphs[0] or graphs[1] or b""),
        versions(base.packages(subject.flavor)),
    )
    return Chosen(graphs[0], graphs[1], certificate)


def _model_forms(subject: Subject, features: Any) -> Forms:
    return _forms(MODEL, subject.flavor, subject.model, subject.schema, features, subject.tokenizer)


def _forms(
    what: str,
    flavor: Flavor,
    model: Any,
    schema: InputSchema,
    features: Any,
    tokenizer: Any = None,
    count: int | None = None,
) -> Forms:
    """Ask the object itself first: on the training rows where they fit it, else on made-up ones."""
    rows = samples.sampled(features, count or base.rows_to_compare(flavor, model))
    asked = None
    if rows is not None:
        taken = base.prepared_rows(flavor, model, rows.data, tokenizer)
        prepared = taken is not rows.data
        asked = parity.ask(flavor, model, replace(rows, data=taken))
        if asked is not None and not prepared:
            asked = parity.ask_edges(flavor, model, asked, features)
    if asked is None:
        made = base.made_rows(flavor, model, schema)
        if made is not None:
            asked = parity.ask(flavor, model, samples.made(made))
    return Forms(what, flavor, model, schema, asked)


def _behind(before: Forms, subject: Subject) -> _Chain | None:
    """What the model answers behind the preprocessor; None when it does not take those rows.

    It need not take every edge row that the preprocessor takes, such as one with a missing value.
    """
    if before.asked is None:
        return None
    raw, values = before.asked.rows, before.asked.answers.values
    asked = parity.ask(subject.flavor, subject.model, replace(raw, data=values))
    if asked is None and raw.edges:
        first_edge = len(raw.places) - raw.edges
        kept = [
            position
            for position in range(len(raw.places))
            if position < first_edge
            or parity.ask(subject.flavor, subject.model, samples.only(replace(raw, data=values), [position]))
        ]
        raw, values = samples.only(raw, kept), values[kept]
        asked = parity.ask(subject.flavor, subject.model, replace(raw, data=values))
    if asked is None:
        return None
    return _Chain(Asked(raw, replace(before.asked.answers, values=values)), Asked(raw, asked.answers), asked)


def _sides(subject: Subject, sklearn: Flavor) -> tuple[Any, Any]:
    """Training features before the preprocessor, or after it: one of both, as far as they fit either.

    Where they fit both, names decide; without names they count as raw, since a model that takes raw rows
    takes prepared ones too.
    """
    features = subject.features
    rows = samples.sampled(features, 3)
    if rows is None:
        return None, None
    before = parity.ask(sklearn, subject.preprocessor, rows) is not None
    after = subject.model is not None and parity.ask(subject.flavor, subject.model, rows) is not None
    named_before = hasattr(subject.preprocessor, "feature_names_in_")
    named_after = hasattr(subject.model, "feature_names_in_")
    if after and (not before or (named_after and not named_before)):
        return _before(subject.preprocessor, features), features
    return (features, None) if before else (None, None)


def _before(preprocessor: Any, features: Any) -> Any:
    """Raw features that lead to prepared ones, where the preprocessor knows the way back."""
    try:
        return preprocessor.inverse_transform(samples.sampled(features).data)  # type: ignore[union-attr]
    except Exception:  # it has no inverse, or none for these rows: rows are made up instead
        return None


def _blamed(
    result: Parity,
    asked: Asked,
    native: Callable[[Rows], Asked | None],
    onnx: Callable[[Rows], list[Any]],
) -> Parity:
    """Name the input column whose value alone makes the difference, where there is one.

    Column by column the value of a row that agrees is put into the one that does not.
    """
    first = result.difference
    data: Any = asked.rows.data
    good = next((p for p, place in enumerate(asked.rows.places) if place not in result.off), None)
    width = data.shape[1] if getattr(data, "ndim", 0) == 2 else 0
    if first is None or good is None or width < 2:
        return result
    wrong = samples.only(asked.rows, [first.position])
    other = samples.only(asked.rows, [good]).data
    for column in range(min(width, 64)):
        changed = replace(wrong, data=_with_column(wrong.data, other, column))
        if _agree(native(changed), onnx, asked):
            name = str(data.columns[column]) if hasattr(data, "columns") else f"number {column}"
            return replace(
                result, difference=replace(first, column=f"{first.column}, by input column {name}")
            )
    return result


def _agree(repaired: Asked | None, onnx: Callable[[Rows], list[Any]], among: Asked) -> bool:
    try:
        return repaired is not None and parity.same(repaired, onnx(repaired.rows), among)
    except Exception:  # a row that cannot be answered says nothing
        return False


def _with_column(row: Any, other: Any, column: int) -> Any:
    changed = row.copy()
    if hasattr(changed, "iloc"):
        changed[changed.columns[column]] = other.iloc[:, column].to_numpy()
    else:
        changed[:, column] = other[:, column]
    return changed


def refuse(what: str, result: Parity, chain: bool = False) -> RunError:
    """Make the error for a graph that answers something else than the model.

    Args:
        what: "model" or "preprocessor".
        result: the outcome of the comparison.
        chain: whether it differs behind the preprocessor's graph only.
    """
    behind = " behind that of the preprocessor" if chain else ""
    return RunError(
        f"The {what} was not logged: its ONNX form{behind} answers differently from the original.",
        f"{len(result.off)} of {result.rows} rows differ: {_listed(result.off)}. "
        f"The first one: {result.difference}.",
        "Another estimator, or other settings of this one, may convert as it is. Where values are very large "
        "or very close, scale them, or train on train_features cast to float32 (X.astype('float32')).",
    )


def _listed(places: Sequence[str]) -> str:
    """The first few places, "training row 5, training row 6" as "training rows 5, 6"."""
    plain = "training row "
    numbers = [place.removeprefix(plain) for place in places if place.removeprefix(plain).isdigit()]
    others = [place for place in places if not place.removeprefix(plain).isdigit()]
    named = [f"{plain.strip()}{'s' if len(numbers) > 1 else ''} {', '.join(numbers[:_SHOWN])}"]
    shown = [*(named if numbers else []), *others[: max(_SHOWN - len(numbers), 1)]]
    more = len(numbers) > _SHOWN or len(others) > max(_SHOWN - len(numbers), 1)
    return ", ".join(shown) + (", ..." if more else "")
