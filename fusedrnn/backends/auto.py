"""The backend "auto": the kernels on GPUs that have passed the tests, if the cost model says that they are faster.

The cost model compares lower bounds (floors) computed from published numbers (`fusedrnn.backends.cost`). This is not enough on
its own, so a chip must be in `VERIFIED` too.
"""

from __future__ import annotations

import logging
from functools import lru_cache

import torch

from fusedrnn.backends import cost
from fusedrnn.backends.chips import chip_of
from fusedrnn.backends.cost import Decision
from fusedrnn.backends.cudnn import Layer
from fusedrnn.call import Call
from fusedrnn.context import transformed
from fusedrnn.kernels.table import choose, unserved

logger = logging.getLogger("fusedrnn")

VERIFIED: frozenset[tuple[int, int]] = frozenset()
"""Compute capabilities on which the GPU tests have passed. None so far: no GPU has run the kernels."""


def automatic(call: Call) -> str:
    """Return the backend for `call`, "triton" or "aten". Each new decision is logged: level DEBUG, logger "fusedrnn"."""
    device = call.input.device
    if (
        device.type != "cuda"
        or torch.version.hip
        or torch.compiler.is_compiling()
        or call.input.is_meta
        or transformed()
    ):
        return "aten"
    properties = torch.cuda.get_device_properties(device)
    return decision((properties.major, properties.minor), properties.multi_processor_count, layer_of(call)).backend


def layer_of(call: Call) -> Layer:
    """Convert `call` to a `Layer` of the cost model. All samples of packed input count with the steps of the longest."""
    spec = call.spec
    return Layer(
        cell=spec.cell,
        dtype=call.weights.flat[0].dtype,
        T=int(call.steps),
        B=max(1, int(call.batch)),
        I=spec.input_size,
        H=spec.hidden_size,
        D=spec.directions,
        L=spec.num_layers,
        tf32=torch.backends.cudnn.allow_tf32,
        packed=call.batch_sizes is not None or call.lengths is not None,
        projected=call.weights.projected,
    )


@lru_cache(maxsize=4096)
def decision(capability: tuple[int, int], multiprocessors: int, layer: Layer) -> Decision:
    """Decide for a call on a GPU: backend, reason and both floors.

    Inference and training use the same backend, so that the results of a model do not change with its mode.
    """
    unable = unserved(capability)
    if unable is not None:
        return Decision("aten", unable, 0.0, 0.0)
    rows = [
        choose(sweep, layer.cell, layer.dtype, layer.H, layer.B, layer.D, capability, multiprocessors, tf32=layer.tf32)
        for sweep in ("forward", "backward")
    ]
    verdict = cost.decide(chip_of(capability, multiprocessors), capability, layer, *rows)
    if capability not in VERIFIED:
        unproven = f"no GPU of capability {capability[0]}.{capability[1]} has passed the GPU tests; {verdict.reason}"
        verdict = Decision("aten", unproven, verdict.ours_s, verdict.theirs_s)
    logger.debug("auto: %s for %s: %s", verdict.backend, layer, verdict.reason)
    return verdict
