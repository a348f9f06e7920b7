"""Peers are timed round by round, summarized by medians, and compared within a round."""

from collections import Counter
from itertools import pairwise

import pytest
import torch

from benchmarks.measuring.timing import CpuClock, clock_for, paired, ratios, summarize


class FakeClock:
    """A clock under which the machine gets slower with every round, and every call has its own cost."""

    name = "fake"

    def __init__(self, costs):
        self.costs, self.order, self.rounds = costs, [], 0

    def sample(self, call):
        call()
        name = next(n for n, c in self.costs.items() if c[0] is call)
        self.order.append(name)
        slowdown = 2.0 ** ((len(self.order) - 1) // len(self.costs))
        return self.costs[name][1] * slowdown


@pytest.fixture
def clock():
    return FakeClock({"a": (lambda: None, 1.0), "b": (lambda: 1, 2.0), "c": (lambda: 2, 5.0)})


def run(clock, **options):
    return paired({name: call for name, (call, _) in clock.costs.items()}, clock, **options)


def test_every_round_runs_every_peer_once_and_a_different_one_first(clock):
    run(clock, rounds=6, warmup=0)
    rounds = [clock.order[k : k + 3] for k in range(0, 18, 3)]
    assert all(sorted(r) == ["a", "b", "c"] for r in rounds)
    assert {r[0] for r in rounds[:3]} == {"a", "b", "c"}


def test_every_peer_follows_every_other_one_as_often(clock):
    run(clock, rounds=600, warmup=0)
    follows = Counter(pairwise(clock.order))
    for name in "abc":
        counts = [follows[other, name] for other in "abc" if other != name]
        assert max(counts) - min(counts) < 10, follows


def test_warmup_is_run_and_forgotten(clock):
    samples = run(clock, rounds=4, warmup=2)
    assert len(clock.order) == 18
    assert all(len(s) == 4 for s in samples.values())
    assert samples["a"][0] == 4.0  # the third round


def test_ratio_is_taken_within_a_round(clock):
    """The machine halves its speed each round: medians of unpaired samples would mix rounds."""
    samples = run(clock, rounds=5, warmup=0)
    found = ratios(samples["b"], samples["a"])
    assert (found.median, found.p20, found.p80) == (2.0, 2.0, 2.0)
    assert ratios(samples["a"], samples["c"]).median == pytest.approx(0.2)
    assert ratios([1.0, 2.0, 30.0], [2.0, 1.0, 10.0]).median == 2.0  # of medians it would be 1
    with pytest.raises(ValueError, match="shorter"):
        ratios([1.0, 2.0], [1.0])


def test_summary_is_median_and_quintiles_and_ignores_one_outlier():
    found = summarize([1.0, 2.0, 3.0, 4.0, 5.0, 1000.0])
    assert (found.median, found.p20, found.p80) == (3.5, 2.0, 5.0)
    assert summarize([7.0]).p80 == 7.0


def test_cpu_clock_repeats_short_calls_and_gives_seconds_a_call():
    calls = []
    clock = CpuClock()
    x = torch.ones(64, 64)

    def work():
        calls.append(1)
        return x @ x

    first, second = clock.sample(work), clock.sample(work)
    assert len(calls) > 20
    assert 1e-7 < first < 1e-2
    assert 1e-7 < second < 1e-2
    assert clock_for(torch.device("cpu")).name == clock.name
