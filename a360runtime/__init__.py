"""What a served model needs: ONNX Runtime behind a small interface.

``from a360runtime import ONNXModel`` works in a notebook and in a prediction script alike. Importing this
package loads nothing heavy; numpy and onnxruntime are loaded with :class:`ONNXModel`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from a360runtime.onnx_model import ONNXModel

__all__ = ["ONNXModel"]


def __getattr__(name: str) -> Any:
    if name == "ONNXModel":
        from a360runtime.onnx_model import ONNXModel

        return ONNXModel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
