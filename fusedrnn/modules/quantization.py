"""Quantisation by torch.ao: a module that is to be quantised dynamically becomes torch.nn's, which torch.ao knows."""

from __future__ import annotations

import warnings
from typing import Any

from torch import nn


class Quantizable(nn.Module):
    """Base class of our recurrent modules. torch.ao assigns `qconfig` to every module of a model that it quantises.

    `torch.ao.quantization.quantize_dynamic(model, {FusedGRU, nn.Linear})` therefore gives torch's quantised GRU, as for nn.GRU. A
    module stays in floating point, and a warning says so, if its class is not in `qconfig_spec`, whose default has only torch.nn's
    classes, if torch.ao has no quantised module for it, as for `FusedRNN`, and if the configuration is one of static quantisation.
    """

    _has_quantized = True

    @property
    def qconfig(self) -> Any:
        """The configuration, an attribute only once it was assigned."""
        if "qconfig" not in self.__dict__:
            raise AttributeError("qconfig")
        return self.__dict__["qconfig"]

    @qconfig.setter
    def qconfig(self, value: Any) -> None:
        from fusedrnn.modules.replace import restore_rnns  # which imports the modules

        self.__dict__["qconfig"] = value
        name = type(self).__name__
        why = f"expected {name} in qconfig_spec, or fusedrnn.restore_rnns(model) before, got no configuration for it"
        if value is not None:
            why = "expected a configuration of dynamic quantisation, or fusedrnn.restore_rnns(model) before"
        if _is_dynamic(value) and not self._has_quantized:
            why = "expected a GRU, an LSTM or a cell, for torch.ao has no quantised nn.RNN"
        elif _is_dynamic(value):
            report = restore_rnns(self)
            if report.changed:
                return
            why = report.left.get("", f"expected a module of this package, got the subclass {name}")
        warnings.warn(f"{name} is not quantised: {why}", stacklevel=2)

    @qconfig.deleter
    def qconfig(self) -> None:
        self.__dict__.pop("qconfig", None)


def _is_dynamic(qconfig: Any) -> bool:
    """Whether a configuration observes no activations."""
    from torch.ao.quantization import PlaceholderObserver

    return qconfig is not None and isinstance(qconfig.activation(), PlaceholderObserver)
