"""Who runs a call of "auto" on a GPU, and when nothing is measured."""

from fusedrnn.auto import choose


def decisions():
    return list(choose._by_kind.values())


def test_the_first_call_measures_and_the_next_ones_remember(speeds, net):
    module, x = net
    module(x)
    (found,) = decisions()
    assert found.backend == "triton"
    assert "2.00 times as fast" in found.reason
    counted = dict(speeds.ran)
    module(x)
    assert speeds.ran["kernels"] == counted["kernels"] + 1
    assert speeds.ran["torch"] == counted["torch"]
