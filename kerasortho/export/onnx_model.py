"""From an exported SavedModel to ONNX, and asking it with ONNX Runtime."""

from __future__ import annotations

import numpy as np

from kerasortho.errors import KerasOrthoError
from kerasortho.export.saved_model import SavedModel
from kerasortho.quiet import stderr_held_back

OPSET = 17  # understood by ONNX Runtime since 1.12, of 2022


def to_onnx(source: SavedModel) -> bytes:
    """Return ``source`` as an ONNX file: ``image`` (n, h, w, 1) float32 -> ``probabilities`` or ``probability``.

    Raises KerasOrthoError if ONNX lacks an operation of the model.
    """
    import tf2onnx

    function = source.function(None)
    with stderr_held_back():
        model, _ = tf2onnx.convert.from_function(function, input_signature=function.input_signature, opset=OPSET)
    others = {operator.domain for operator in model.opset_import} - {"", "ai.onnx.ml"}
    if others:
        raise KerasOrthoError(f"The converted model needs operations that ONNX does not have: {', '.join(others)}.")
    content: bytes = model.SerializeToString()
    return content


class OnnxNetwork:
    """An ONNX model that answers one image at a time, as ``kerasortho.edge.run.Network`` does."""

    def __init__(self, content: bytes, threads: int = 2) -> None:
        """Load the bytes of an ONNX file."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # errors
        # Its threads would go on looking for work after an answer, and take processors from whoever is asked next.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Return the probabilities for ``image`` (h, w) float32 in [0, 1]: (C,), or (h, w) of the foreground."""
        given = np.ascontiguousarray(image[None, :, :, None], np.float32)
        answer = np.asarray(self._session.run(None, {"image": given})[0])
        return answer[0, ..., 0] if answer.ndim == 4 else answer[0]
