"""A traced detector as an ONNX file.

The packages onnx, onnxscript and onnxruntime are optional, so they are imported where they are
used.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.export import ExportedProgram

from mmdet_lite.export.tracing import INPUTS, explained, quiet

Runner = Callable[[np.ndarray, np.ndarray], list[np.ndarray]]

_NOT_INSTALLED = (
    "an export to ONNX needs the packages onnx, onnxscript and onnxruntime ({error}): pip install "
    "onnx onnxscript onnxruntime, or install mmdet_lite[export]"
)
_ALL = 2**63 - 1  # boxes of a class
_NO_CANDIDATE = -0.5  # scores below: see keep_best
_OPEN = {("images", 0): "batch", ("images", 2): "height", ("images", 3): "width"}


def require_onnx() -> None:
    """Raises:
    ImportError: a package that an export to ONNX needs is not installed.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(_NOT_INSTALLED.format(error=error)) from error


def onnx_bytes(
    program: ExportedProgram,
    outputs: Sequence[str],
    metadata: dict[str, Any],
    opset: int | None = None,
) -> bytes:
    """The content of an ONNX file.

    Args:
        program: the traced detector.
        outputs: names of its outputs.
        metadata: plain values; each becomes an entry of the file's metadata, as JSON.
        opset: version of ONNX's operators; None: the exporter's own choice.

    Raises:
        ValueError: an operator has no counterpart in ONNX; with the exporter's reason.
    """
    import onnx

    with torch.no_grad(), quiet(), explained("torch.onnx cannot export the model"):
        exported = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=opset,
            input_names=list(INPUTS),
            output_names=list(outputs),
            custom_translation_table={torch.ops.mmdet_lite.keep_best.default: _keep_best()},
            verbose=False,
        )
        model = exported.model_proto
    _name_open_sizes(model.graph)
    properties = {name: json.dumps(value) for name, value in metadata.items()}
    onnx.helper.set_model_props(model, properties)
    return model.SerializeToString()


def _keep_best() -> Callable:
    """How :func:`mmdet_lite.models.exported_nms.keep_best` is said in ONNX."""
    from onnx import TensorProto, helper
    from onnxscript import opset18 as op

    no, yes = (helper.make_tensor("value", TensorProto.BOOL, [1], [value]) for value in (0, 1))

    def translate(boxes: Any, scores: Any, iou_thr: float) -> Any:
        found = op.NonMaxSuppression(
            boxes,
            scores,
            op.Constant(value_ints=[_ALL]),
            op.Constant(value_floats=[iou_thr]),
            op.Constant(value_floats=[_NO_CANDIDATE]),
        )  # (n, 3): image, group, box
        none = op.ConstantOfShape(op.Shape(scores), value=no)
        every = op.ConstantOfShape(op.Shape(found, start=0, end=1), value=yes)
        return op.ScatterND(none, found, every)

    return translate


def _name_open_sizes(graph: Any) -> None:
    """Names of people in place of the exporter's, and no shapes but those of inputs and outputs."""
    del graph.value_info[:]
    names = {}
    for value in graph.input:
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if dim.dim_param and (value.name, axis) in _OPEN:
                names[dim.dim_param] = _OPEN[value.name, axis]
    for value in (*graph.input, *graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in names:
                dim.dim_param = names[dim.dim_param]


def onnx_runner(content: bytes) -> Runner:
    """Runs the content of an ONNX file by onnxruntime, on the CPU.

    Raises:
        ValueError: onnxruntime does not take it; with its reason.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4  # what is wrong is raised, too
    with explained("onnxruntime cannot run the exported model"):
        session = onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])

    def run(images: np.ndarray, shapes: np.ndarray) -> list[np.ndarray]:
        with explained("onnxruntime cannot run the exported model"):
            return session.run(None, dict(zip(INPUTS, (images, shapes), strict=True)))

    return run
