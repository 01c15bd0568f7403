"""Certificates of runs, as the kit sends them and everybody reads them."""

from typing import Annotated, Any, Literal

from pydantic import Field

from .routing import Form, View
from .texts import Opset, Whole

Gap = Annotated[float, Field(ge=0, le=1e300, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Text = Annotated[str, Field(max_length=300)]
PackageName = Annotated[str, Field(min_length=1, max_length=64)]
VersionText = Annotated[str, Field(pattern="^[!-~]+$", max_length=64)]
Part = Literal["model", "preprocessor", "chain"]
Source = Literal["training", "made"]


class DifferenceForm(Form):
    """The first answer that differs."""

    row: Text = Field(description="Which row, in words.")
    column: Text = Field(description="Which column of the answer, and of the input if one is to blame.")
    native: Text
    onnx: Text


class CheckForm(Form):
    """One comparison: of the model, the preprocessor, or both behind each other, as they are served."""

    part: Part
    form: str = Field(max_length=100, description="Of the ONNX graph, for example float32.")
    passed: bool
    rows: Whole = Field(ge=1, lt=2**53)
    edge_rows: Whole = Field(
        0, ge=0, lt=2**53, description="How many of the rows are extremes, zeros, unknown or missing."
    )
    source: Source = Field("training", description="Of the rows; made up where there was no training data.")
    max_difference: Gap | None = Field(None, description="Of values; null for labels.")
    label_agreement: Share | None = Field(None, description="Share of equal labels; null for values.")
    probability_difference: Gap | None = None
    difference: DifferenceForm | None = None
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$", description="Of the graph; null of a chain.")


class CertificateForm(Form):
    """What was compared before a run was stored."""

    opset: Opset | None = None
    versions: dict[PackageName, VersionText] = Field(
        default_factory=dict, max_length=20, description="Of framework, converter, onnx and onnxruntime."
    )
    checks: list[CheckForm] = Field(min_length=1, max_length=3)

    def document(self) -> dict[str, Any]:
        """What the use case takes: with whether it passed as a whole."""
        document = self.model_dump()
        return {"passed": all(check["passed"] for check in document["checks"]), **document}


class DifferenceView(View):
    """The first answer that differs."""

    row: str
    column: str
    native: str
    onnx: str


class CheckView(View):
    """One comparison of a certificate."""

    part: Part
    form: str
    passed: bool
    rows: int
    edge_rows: int
    source: Source
    max_difference: float | None
    label_agreement: float | None
    probability_difference: float | None
    difference: DifferenceView | None
    sha256: str | None


class CertificateView(View):
    """What was compared before a run was stored; one that has not passed cannot be packaged."""

    passed: bool
    opset: int | None
    versions: dict[str, str]
    checks: list[CheckView]
