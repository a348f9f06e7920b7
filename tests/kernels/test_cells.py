"""The sweeps take a cell as a value: a new cell works without changes to them, and each is compiled separately."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

triton = pytest.importorskip("triton")

import triton.language as tl  # noqa: E402
from sweep_cases import FORMS  # noqa: E402

from fusedrnn.kernels import backward, forward, sweeps  # noqa: E402
from fusedrnn.kernels.cell import NUMBERS, Cell  # noqa: E402
from fusedrnn.kernels.cells import CELLS  # noqa: E402


def test_every_cell_has_the_functions_of_its_phases():
    assert list(CELLS) == list(NUMBERS)
    for name, cell in CELLS.items():
        assert cell[: Cell._fields.index("step")] == NUMBERS[name][: Cell._fields.index("step")]
        assert cell.step is not None
        assert cell.step_backward is not None
        assert (cell.step_late is None) == (cell.step_late_backward is None) == (cell.phases == 1)
        assert cell.saved - cell.exchanged_from == cell.gates
        if cell.late:  # what the backward's two phases write and read
            assert cell.exchanged_from == 0
            assert cell.late <= cell.gates - cell.late


@pytest.mark.parametrize("module", [forward, backward], ids=["forward", "backward"])
def test_the_sweeps_name_no_cell(module):
    source = Path(module.__file__).read_text(encoding="utf-8")
    assert "CELL.step(" in source or "CELL.step_backward(" in source
    assert not [name for name in NUMBERS if f'"{name}"' in source]


@triton.jit
def leaky(gx, a, h, c, factor, DIGITS: tl.constexpr):
    new = 0.5 * h + gx[0] * a[1] + gx[1] + 0.25 * a[0] * c
    return new, 0.5 * c + h, (gx[0], a[1], a[0])


@triton.jit
def leaky_backward(dh, dc, saved, h, c, c_before, factor, DIGITS: tl.constexpr):
    gx, a, a_other = saved
    return (dh * a, 0.25 * dh * c_before, dh * gx), 0.5 * dh + dc, 0.5 * dc + 0.25 * dh * a_other


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.usefixtures("poisoned")
def test_a_cell_from_outside_is_served(form, monkeypatch):
    """Two products, three saved values, a direct path for h, and a c that both states touch."""
    made = Cell("leaky", 2, 3, has_c=True, exchanged_from=1, step=leaky, step_backward=leaky_backward)
    monkeypatch.setitem(CELLS, "leaky", made)
    T, B, H = 3, 2, 17
    leaves = [torch.randn(s).double().requires_grad_() for s in ((T, B, 1, 2 * H), (1, B, H), (1, B, H), (1, 2 * H, H))]
    gx, h, c, w = leaves[0][:, :, 0], leaves[1][0], leaves[2][0], leaves[3][0]
    outputs = []
    for t in range(T):
        (x, y), (p, q) = gx[t].chunk(2, -1), (h @ w.t()).chunk(2, -1)
        h, c = 0.5 * h + x * q + y + 0.25 * p * c, 0.5 * c + h
        outputs.append(h)
    expected = [torch.stack(outputs).unsqueeze(2), h.unsqueeze(0), c.unsqueeze(0)]
    up = [torch.randn_like(e) for e in expected]
    _, dh0, dc0, _ = torch.autograd.grad(expected, leaves, up)
    gx, h0, c0, w = (leaf.detach() for leaf in leaves)
    row = FORMS[form](H)
    done = sweeps.forward("leaky", gx, h0, c0, w, None, None, row, save=True)
    back = sweeps.backward(
        "leaky", done.gates, done.output, done.cells, h0, c0, w, None, up[0], up[1], None, up[2], row
    )
    for got, e in zip([done.output, done.h_n, done.c_n, back.dh0, back.dc0], [*expected, dh0, dc0], strict=True):
        torch.testing.assert_close(got, e, rtol=1e-10, atol=1e-10)


PROGRAM = """
import json, torch, triton, triton.language as tl
from benchmarks.machine_code import absent
from fusedrnn.kernels import sweeps
from fusedrnn.kernels.cells import CELLS

@triton.jit
def step(gx, a, h, c, factor, DIGITS: tl.constexpr):
    new = gx[0] + a[0] * 2.0
    return new, c, (new,)

def launch(cell):
    ones = lambda *shape: torch.ones(*shape, dtype=torch.bfloat16)
    sweeps.forward(cell, ones(2, 3, 1, 32), ones(1, 3, 32), None, ones(1, 32, 32), None, None, save=True)
    return len(heard), sum(not cached for cached in heard)

absent.install(absent.Chip((9, 0), 132))
heard = []
absent.listen(lambda source, cached: heard.append(cached))
CELLS["rnn_tanh"] = CELLS["rnn_tanh"]._replace(step=step)
print(json.dumps([launch("rnn_tanh"), launch("rnn_tanh"), launch("rnn_relu")]))
"""


def test_a_cell_is_compiled_once_and_again_when_its_functions_change(tmp_path):
    """Prints the number of compilations and of new ones after each launch; editing a step must miss the cache on disk."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    environment |= {"PYTHONPATH": os.pathsep.join(sys.path), "TRITON_CACHE_DIR": str(tmp_path / "cache")}
    program = tmp_path / "program.py"

    def counts(text):
        program.write_text(text)
        done = subprocess.run([sys.executable, str(program)], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(done.stdout)

    assert counts(PROGRAM) == [[1, 1], [1, 1], [2, 2]]
    assert counts(PROGRAM) == [[1, 0], [1, 0], [2, 0]]
    assert counts(PROGRAM.replace("2.0", "3.0")) == [[1, 1], [1, 1], [2, 1]]
