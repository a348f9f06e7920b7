"""A network as ONNX, and what onnxruntime makes of it."""

import contextlib
import io
import logging
import warnings

import torch
from torch import Tensor, nn

EXPORTERS = {"TorchScript": False, "torch.export": True}
"""What the two exporters of torch.onnx go by, and their argument `dynamo`."""


def export(network: nn.Module, input: Tensor, *, dynamo: bool) -> bytes | None:
    """The ONNX file of `network` for inputs like `input`; None if the exporter cannot do it."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it remarks on packages that are not installed
    file = io.BytesIO()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            if not dynamo:
                torch.onnx.export(network, (input,), file, dynamo=False)
                return file.getvalue()
            program = torch.onnx.export(network, (input,), dynamo=True, verbose=False)
            return program.model_proto.SerializeToString()
    except RuntimeError:  # the base of both exporters' errors
        return None


def run(file: bytes, input: Tensor) -> Tensor:
    """The first output of an ONNX file, from onnxruntime on one thread of the CPU."""
    import onnxruntime  # here: the rest of the command tells who lacks it

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {session.get_inputs()[0].name: input.numpy()})[0])
