"""A program: jobs of a GPU run, through the modules, on a GPU that is not there; prints how many kernels were cached and new.

`python absent_launches.py compile` compiles what the same jobs say that they need, and launches nothing.
"""

import json
import sys
from unittest import mock

import torch

from benchmarks.gpu import decisions, gate, micro, options, steps, tuning
from benchmarks.gpu.kernels import distinct, machine_of, of_case, of_kind, of_option, of_sweep, of_tune
from benchmarks.gpu.tuning import Tune
from benchmarks.machine_code import absent
from benchmarks.measuring.cases import Case
from benchmarks.measuring.peers import peers
from fusedrnn.auto import trial
from fusedrnn.auto.check import kernels_engine
from fusedrnn.auto.problem import problem, results
from fusedrnn.backends import triton as backend_triton
from fusedrnn.operators.layer import BY_TABLE
from fusedrnn.precision import allow_tf32

CHIP = absent.Chip((9, 0), 132)
CPU = torch.device("cpu")
CHECKS = [
    gate.Check("gru", "bf16", "alone", 64, lengths=False, T=2),
    gate.Check("lstm", "bf16", "alone", 64, lengths=True, T=2),
    gate.Check("lstm", "fp32", "streamed", 64, lengths=False, exact=True, T=2),
]
CASES = [
    Case("layer", "gru", "bf16", T=2, B=3, I=16, H=80, passes="training"),
    Case("deep", "lstm", "fp32", T=2, B=3, I=16, H=80, L=2, D=2, passes="training"),
    Case("packed", "gru", "bf16", T=2, B=3, I=16, H=80, passes="training", input="packed"),
    Case("ids", "lstm", "bf16", T=2, B=3, I=16, H=48, input="ids"),
    Case("dropout", "dropout", "bf16", T=2, B=3, I=0, H=64, passes="training", quantity="dropout"),
    Case("dropout", "bias_relu_dropout", "fp32", T=2, B=3, I=0, H=64, passes="training", quantity="dropout"),
]
KINDS = [
    decisions.kind_of(Case("packed", "lstm", "bf16", T=2, B=3, I=16, H=80, passes="training", input="packed")),
    decisions.kind_of(Case("deep", "gru", "fp32", T=2, B=3, I=16, H=80, L=2, D=2, passes="training")),
    decisions.kind_of(Case("layer", "lstm", "bf16", T=2, B=3, I=16, H=256)),
]
TUNE = Tune("backward", "gru", "bf16", 2, 3, 256)
STEP = Tune("forward", "lstm", "bf16", 2, 3, 256)
OPTIONS = [
    options.Option(name, cell, 64, T=2, B=3) for name, cell in zip(options.WITH, ("lstm", "gru") * 3, strict=False)
]
OPTIONS += [options.Option("layer_norm", "gru", 256, T=2, B=3)]
VARIANTS = 1


def needed():
    """Every kernel that the jobs need."""
    of_checks = [kernel for check in CHECKS for kernel in check.kernels()]
    of_cases = [kernel for case in CASES for kernel in of_case(case)]
    of_kinds = [kernel for kind in KINDS for kernel in of_kind(kind, CHIP)]
    of_options = [kernel for option in OPTIONS for kernel in of_option(option)]
    rest = [*of_options, *of_tune(TUNE, CHIP, VARIANTS), *of_sweep(STEP), micro.Micro()]
    return distinct([*of_checks, *of_cases, *of_kinds, *rest], CHIP)


def run_jobs():
    """The worker's code for these jobs, without the comparison of results: nothing is computed here."""
    for check in CHECKS:
        ours = gate._ours(check, CPU)
        with allow_tf32(not check.exact):
            gate._results(ours, *gate._inputs(check, CPU), check.H)
    for case in CASES[:4]:
        peer = peers(case, CPU)["ours"]
        peer.results()
        peer.call()
    for case in CASES[4:]:
        from benchmarks.measuring.dropout import _functions

        x, bias = (
            torch.randn(2, 3, 64, dtype=case.torch_dtype, requires_grad=True),
            torch.ones(64, dtype=case.torch_dtype),
        )
        y = _functions(case, CPU)["ours"](x, bias)
        y.backward(torch.ones_like(y))
    for kind in KINDS:
        decide(kind)
    for option in OPTIONS:
        for plain in (False, True):
            options.step(option, options.net(option, "triton", CPU, torch.bfloat16, plain=plain), CPU, plain=plain)()
    run = tuning.problem(TUNE, CPU)
    *_, table = of_tune(TUNE, CHIP, 0)
    base = table.launch_row(CHIP)
    for row in (base, *tuning.candidates(tuning.CHIPS[9, 0], TUNE, base, VARIANTS)):
        run(row)
    steps.compiled(STEP, next(of_sweep(STEP)).launch_row(CHIP), CPU)
    micro._compile_all()


def decide(kind):
    """Launch what a measurement of the backend "auto" launches."""
    machine, given = machine_of(CHIP), problem(kind, CPU, kind.steps, kind.batch)
    table = trial.table_rows(kind, machine)
    wanted = [BY_TABLE, table]
    wanted += [(place, -1) for place in trial.others(0, kind, machine, table[0])]
    wanted += [(-1, place) for place in trial.others(1, kind, machine, table[1])] if kind.training else []
    for rows in wanted:
        results(kernels_engine(rows), given)


def main():
    """Compile or run, and count."""
    driver = absent.install(CHIP)
    found = []
    absent.listen(lambda source, cached: found.append((source.name, cached)))
    if sys.argv[1] == "compile":
        for kernel in needed():
            kernel.compile()
    else:
        serves = {"missing": lambda: None, "refuse_input": lambda _: None}
        with mock.patch.multiple(backend_triton, **serves):
            run_jobs()
    new = sorted(name for name, cached in found if not cached)
    print(json.dumps({"new": new, "cached": sum(cached for _, cached in found), "launches": driver.launches}))


main()
