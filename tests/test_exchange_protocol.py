"""The exchange protocol in the abstract: every interleaving of a few programs and steps, on a memory that need not be coherent.

The model. A lane has N programs. In tick k each one waits until the lane's counter has reached k * N, reads the slices of all
programs from buffer(k), writes its own slice of tick k + 1 into buffer(k + 1), and adds one to the counter. Writes sit in
a program's own buffer until a release publishes them, and may leave it at any time before; that is more freedom than any
GPU takes. A slice carries the number of its tick, so that a stale or a too new read is seen at once.
"""

import pytest

STEPS = 3

BUFFERS = {
    "GRU, LSTM": lambda tick: tick % 2,  # h in two slots
    "reset-before GRU": lambda tick: (0, 2, 1, 2)[tick % 4],  # h in two slots, r * h in one
    "backward": lambda tick: tick,  # dgates of each step have their own place
}


class BrokenError(Exception):
    """What a schedule led to."""


def explore(
    programs, steps=STEPS, launches=1, *, buffer=BUFFERS["GRU, LSTM"], waits=True, releases=True, short=0, fresh=True
):
    """Visit every reachable state; returns how many there are. Raises `BrokenError` for a wrong read, a lost arrival or a deadlock.

    A program is (launch, step, phase, buffered): phases 0 wait, 1 .. N read one slice, N + 1 write, N + 2 publish and arrive.
    """
    everyone = range(programs)
    count = 1 + max(buffer(tick) for tick in range(steps + 1))
    start = (tuple((0, 0, 0, ()) for _ in everyone), tuple((0,) * programs for _ in range(count)), (0,) * launches)
    seen, front = {start}, [start]
    while front:
        state = front.pop()
        following = successors(state, programs, steps, launches, buffer, waits, releases, short, fresh)
        if not following and any(p[0] < launches for p in state[0]):
            raise BrokenError(f"deadlock: {state}")
        for new in following:
            if new not in seen:
                seen.add(new)
                front.append(new)
    return len(seen)


def successors(state, n, steps, launches, buffer, waits, releases, short, fresh):
    everyone, memory, counters = state
    following = []
    for i, (launch, step, phase, buffered) in enumerate(everyone):

        def becomes(program, memory=memory, counters=counters, i=i):
            following.append(((*everyone[:i], program, *everyone[i + 1 :]), memory, counters))

        if buffered:  # a buffered write may reach memory at any time
            slot, value = buffered
            becomes((launch, step, phase, ()), memory=written(memory, slot, i, value))
        if launch == launches:
            continue
        counter = launch if fresh else 0
        if phase == 0:
            if min(p[0] for p in everyone) < launch:  # the launches of one stream follow each other
                continue
            if not waits or counters[counter] >= step * n - short:
                becomes((launch, step, 1, buffered))
        elif phase <= n:
            got = memory[buffer(step)][phase - 1]
            expected = launch * steps + step
            if got != expected:
                raise BrokenError(f"program {i} read tick {got} of program {phase - 1}, expected {expected}")
            becomes((launch, step, phase + 1, buffered))
        elif phase == n + 1:
            if not buffered:
                becomes((launch, step, phase + 1, (buffer(step + 1), launch * steps + step + 1)))
        elif not releases or not buffered:  # a release arrives only once the writes before it are in memory
            more = (*counters[:counter], counters[counter] + 1, *counters[counter + 1 :])
            new = (launch, step + 1, 0, buffered)
            if step + 1 == steps:
                new = (launch + 1, 0, 0, buffered)
            becomes(new, counters=more)
    return following


def written(memory, slot, program, value):
    """Memory with one slice replaced."""
    row = (*memory[slot][:program], value, *memory[slot][program + 1 :])
    return (*memory[:slot], row, *memory[slot + 1 :])


@pytest.mark.parametrize("buffer", BUFFERS.values(), ids=BUFFERS)
@pytest.mark.parametrize("programs", [1, 2, 3])
def test_every_schedule_reads_what_it_should_and_ends(programs, buffer):
    assert explore(programs, buffer=buffer) > programs * STEPS
    assert explore(programs, steps=2 * STEPS, buffer=buffer) > 2 * programs * STEPS


def test_a_relaunch_on_counters_of_its_own_is_safe():
    """An odd number of steps leaves the last state in the other slot; `launch.run` starts each launch with slot 0 filled."""
    assert explore(2, steps=2, launches=2) > explore(2, steps=2)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ({"waits": False}, "read tick"),
        ({"short": 1}, "read tick"),
        ({"releases": False}, "read tick"),
        ({"buffer": lambda tick: 0}, "read tick"),
        ({"launches": 2, "steps": 2, "fresh": False}, "read tick"),
    ],
    ids=["no wait", "wait for one too few", "arrival before the writes", "one slot", "counter used twice"],
)
def test_each_weakening_is_found(fault, says):
    with pytest.raises(BrokenError, match=says):
        explore(2, **fault)


def test_an_arrival_too_few_is_a_deadlock():
    with pytest.raises(BrokenError, match="deadlock"):
        explore(2, short=-1)
