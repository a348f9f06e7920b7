"""The exchange protocol in the abstract: every interleaving of a few programs and steps, on a memory that need not be coherent.

The model of counters. A lane has N programs. In tick k each one waits until the lane's counter has reached k * N, reads the
slices of all programs from buffer(k), writes its own slice of tick k + 1 into buffer(k + 1), and adds one to the counter. Writes
sit in a program's own buffer until a release publishes them, and may leave it at any time before; that is more freedom than any
GPU takes. A slice carries the number of its tick, so that a stale or a too new read is seen at once.

The model of polled words is further down.
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


PADDING, NAN, DEAD = 0, -1, -1
"""What a step outside its sample publishes; what a program publishes that has read in vain; the step of a dead program."""


def explore_polls(
    programs,
    *,
    steps=STEPS,
    length=STEPS,
    reverse=False,
    checked=(0, 1),
    bound=None,
    mortal=(),
    launches=1,
    refilled=True,
    starts_over=True,
    flags=True,
):
    """Visit every state of an exchange whose data is its own flag; returns how many there are, or raises `BrokenError`.

    Each step of each program has one word of two halves in memory, None at first: the pattern. In a step a program takes the
    words of all programs' step before, each as soon as no half of it is the pattern, then stores its own, whose halves become
    visible one by one, in any order with all its other ones. A half carries the number of its step. A sample of ``length`` steps
    is the first ones of the sweep, or the last ones in ``reverse``, whose first reads h_0. A program is (step, words taken, tries
    left, whether its state is NaN, halves under way). ``mortal`` programs may die between any two of their moves.
    """
    first = steps - length if reverse else 0
    empty = ((((None, None),) * programs),) * steps
    idle = ((0, 0, bound, False, frozenset()),) * programs
    start = (0, idle, empty, False)
    seen, front = {start}, [start]

    def moves(state):
        launch, everyone, memory, error = state
        for i, (step, taken, tries, nan, under_way) in enumerate(everyone):

            def becomes(*program, memory=memory, error=error, i=i):
                return launch, (*everyone[:i], program, *everyone[i + 1 :]), memory, error

            for store in under_way:
                at, half, value = store
                word = tuple(value if h == half else old for h, old in enumerate(memory[at][i]))
                yield becomes(step, taken, tries, nan, under_way - {store}, memory=written(memory, at, i, word))
            if step in (DEAD, steps):
                continue
            if i in mortal:
                yield becomes(DEAD, 0, tries, nan, under_way)
            valid = first <= step < first + length
            number = launch * steps + step + 1
            begins = step == 0 or (reverse and step == first and starts_over)
            if begins or taken == programs:
                value = PADDING if not valid else NAN if nan else number
                stores = {(step, half, value) for half in (0, 1)}
                yield becomes(step + 1, 0, tries and bound, nan, under_way | stores)
                continue
            word = memory[step - 1][taken]
            if all(word[half] is not None for half in checked):
                if valid and any(half not in (number - 1, NAN) for half in word):
                    raise BrokenError(f"program {i} read {word} of program {taken}, expected step {number - 1}")
                yield becomes(step, taken + 1, tries, nan or (valid and NAN in word), under_way)
            elif bound is not None and tries > 1:
                yield becomes(step, taken, tries - 1, nan, under_way)
            elif bound is not None:
                yield becomes(step, taken + 1, 0, nan or valid, under_way, error=error or flags)

    while front:
        state = front.pop()
        launch, everyone, memory, error = state
        following = list(moves(state))
        if not following:
            if any(program[0] not in (DEAD, steps) for program in everyone):
                raise BrokenError(f"deadlock: {state}")
            if any(program[3] for program in everyone) and not error:
                raise BrokenError(f"NaN without an error: {state}")
            if launch + 1 < launches:
                following = [(launch + 1, idle, empty if refilled else memory, error)]
        for new in following:
            if new not in seen:
                seen.add(new)
                front.append(new)
    return len(seen)


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reversed"])
@pytest.mark.parametrize("length", range(STEPS + 1))
def test_every_schedule_of_polls_reads_whole_words_of_the_step_before_and_ends(length, reverse):
    assert explore_polls(2, length=length, reverse=reverse) > 2 * STEPS


def test_three_programs_that_poll_read_whole_words_and_end():
    assert explore_polls(3) > 3 * STEPS


def test_a_second_launch_on_words_filled_again_is_safe():
    assert explore_polls(2, launches=2) > explore_polls(2)


@pytest.mark.parametrize("bound", [1, 2])
@pytest.mark.parametrize("mortal", [(), (1,), (0, 1)], ids=["none", "one", "all"])
def test_whoever_dies_the_others_end_and_no_nan_is_without_an_error(mortal, bound):
    """Programs that live may be too late for each other, too."""
    assert explore_polls(2, mortal=mortal, bound=bound) > 2 * STEPS


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ({"checked": (0,)}, r"read \(\d, None\)"),
        ({"checked": ()}, r"read \(None, None\)"),
        ({"launches": 2, "refilled": False}, "read .*1.* expected step 4"),
        ({"mortal": (1,)}, "deadlock"),
        ({"mortal": (1,), "bound": 2, "flags": False}, "NaN without an error"),
        ({"length": 2, "reverse": True, "starts_over": False}, r"read \(0, 0\)"),
    ],
    ids=["one half checked", "no half checked", "not filled again", "no bound", "no error word", "padding for h_0"],
)
def test_each_weakening_of_the_polls_is_found(fault, says):
    with pytest.raises(BrokenError, match=says):
        explore_polls(2, **fault)
