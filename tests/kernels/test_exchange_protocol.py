"""A model of the exchange: every interleaving of a few programs and steps, on a memory that need not be coherent.

A word is both data and flag: before it is written, both its halves hold the pattern (None here). A step has one or two phases. In
a phase a program first reads the words of all programs that the phase needs, each as soon as no half is the pattern, and then
publishes one word. The two halves of a word become visible separately and in any order, which is weaker than any GPU's memory. A
half holds the number of its phase, counted through all launches, so that a read of an older or a newer word is detected.
"""

import pytest

STEPS = 3
PADDING, NAN, DEAD = 0, -1, -1
"""Published by a step of padding; published by a program whose polls ran out; the phase of a dead program."""
BOTH = (0, 1)
READS = {
    "one phase": (((1, BOTH),),),
    "two phases, forward": (((1, BOTH),), ((1, BOTH),)),
    "two phases, backward": (((1, BOTH), (2, (0,))), ((1, (1,)),)),
}
"""For each phase of a step, the words it reads: how many phases before, which halves. In the backward the first phase publishes
two products, one in each half: the second phase reads one, the next step the other."""


class BrokenError(Exception):
    """An interleaving ended in a wrong read, a deadlock, or a NaN without an error."""


def written(memory, at, program, value):
    """Memory with one word replaced."""
    row = (*memory[at][:program], value, *memory[at][program + 1 :])
    return (*memory[:at], row, *memory[at + 1 :])


def explore(
    programs,
    *,
    reads=READS["one phase"],
    steps=STEPS,
    length=None,
    reverse=False,
    halves=BOTH,
    checked=BOTH,
    unchecked=None,
    bound=None,
    mortal=(),
    launches=1,
    refilled=True,
    starts_over=True,
    from_padding=False,
    early=0,
    flags=True,
):
    """Visit every state; returns how many there are. Raises `BrokenError` for a wrong read, a deadlock, or a NaN without an error.

    A sample of ``length`` steps is the first ones of the sweep, or the last ones in ``reverse``, whose first reads h_0, or in a
    backward sweep the zeros of padding (``from_padding``). A program is (phase, words taken, tries left, whether its state is NaN,
    halves under way); phases are counted through all steps. ``mortal`` programs may die between any two of their moves.
    ``checked``: halves that are waited for, if not the word of ``unchecked`` phases before is read. ``early``: a word is read that
    was published so many phases before the one that should be.
    """
    phases, length = len(reads), steps if length is None else length
    first, end = steps - length if reverse else 0, phases * steps
    empty = ((((None,) * len(halves),) * programs),) * end
    idle = ((0, 0, bound, False, frozenset()),) * programs
    start = (0, idle, empty, False)
    seen, front = {start}, [start]

    def moves(state):
        launch, everyone, memory, error = state
        for i, (at, taken, tries, nan, under_way) in enumerate(everyone):

            def becomes(*program, memory=memory, error=error, i=i):
                return launch, (*everyone[:i], program, *everyone[i + 1 :]), memory, error

            for store in under_way:
                place, half, value = store
                word = tuple(value if h == half else old for h, old in enumerate(memory[place][i]))
                yield becomes(at, taken, tries, nan, under_way - {store}, memory=written(memory, place, i, word))
            if at in (DEAD, end):
                continue
            if i in mortal:
                yield becomes(DEAD, 0, tries, nan, under_way)
            step, phase = divmod(at, phases)
            valid = first <= step < first + length
            number = launch * end + at + 1
            begins = phase == 0 and (step == 0 or (reverse and step == first and starts_over and not from_padding))
            if begins or taken == programs * len(reads[phase]):
                value = PADDING if not valid else NAN if nan else number
                stores = {(at, half, value) for half in halves}
                yield becomes(at + 1, 0, tries and bound, nan, under_way | stores)
                continue
            (before, wanted), neighbour = reads[phase][taken // programs], taken % programs
            place = at - before - (early if at >= before + early else 0)
            word = {half: memory[place][neighbour][half] for half in wanted}
            if before == unchecked or all(word[half] is not None for half in wanted if half in checked):
                padded = from_padding and (at - before) // phases < first
                expected = PADDING if padded else number - before
                if valid and any(value not in (expected, NAN) for value in word.values()):
                    raise BrokenError(f"program {i} read {word} of program {neighbour}, expected {expected}")
                yield becomes(at, taken + 1, tries, nan or (valid and NAN in word.values()), under_way)
            elif bound is not None and tries > 1:
                yield becomes(at, taken, tries - 1, nan, under_way)
            elif bound is not None:
                yield becomes(at, taken + 1, 0, nan or valid, under_way, error=error or flags)

    while front:
        state = front.pop()
        launch, everyone, memory, error = state
        following = list(moves(state))
        if not following:
            if any(program[0] not in (DEAD, end) for program in everyone):
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


each = pytest.mark.parametrize("reads", READS.values(), ids=READS)


@each
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reversed"])
@pytest.mark.parametrize("length", range(STEPS + 1))
def test_every_schedule_reads_whole_words_of_the_right_phase_and_ends(length, reverse, reads):
    backward = reads == READS["two phases, backward"]
    for from_padding in {backward, reads == READS["one phase"]}:  # one phase is both sweeps
        found = explore(2, reads=reads, length=length, reverse=reverse, from_padding=from_padding)
        assert found > 2 * STEPS * len(reads)


@each
@pytest.mark.parametrize("length", [STEPS, STEPS - 1])
def test_three_programs_read_whole_words_and_end(length, reads):
    assert explore(3, reads=reads, length=length) > 3 * STEPS * len(reads)


@each
def test_a_second_launch_on_words_filled_again_is_safe(reads):
    assert explore(2, reads=reads, launches=2) > explore(2, reads=reads)


@each
@pytest.mark.parametrize("bound", [1, 2])
@pytest.mark.parametrize("mortal", [(), (1,), (0, 1)], ids=["none", "one", "all"])
def test_if_a_program_dies_the_others_end_and_nan_comes_with_an_error(mortal, bound, reads):
    """Polls of live programs may run out too."""
    halves, steps = BOTH, STEPS
    if len(reads) == 2:  # fewer states: both halves become visible at once
        halves, steps = (0,), 2
        reads = tuple(tuple((before, halves) for before, _ in phase) for phase in reads)
    assert explore(2, reads=reads, steps=steps, halves=halves, mortal=mortal, bound=bound) > 2 * steps * len(reads)


@each
@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ({"checked": (0,)}, r"read \{.*1: None\}"),
        ({"checked": (1,)}, r"read \{0: None"),
        ({"early": 1}, "read .* expected"),
        ({"launches": 2, "refilled": False}, "read .*1.* expected"),
        ({"mortal": (1,)}, "deadlock"),
        ({"mortal": (1,), "bound": 1, "steps": 2, "flags": False}, "NaN without an error"),
        ({"length": 2, "reverse": True, "starts_over": False}, r"read \{0: 0, 1: 0\}"),
    ],
    ids=[
        "the second half",
        "the first half",
        "an earlier phase",
        "not filled again",
        "no bound",
        "no error word",
        "padding for h_0",
    ],
)
def test_each_weakening_is_found(fault, says, reads):
    with pytest.raises(BrokenError, match=says):
        explore(2, reads=reads, **fault)


def test_a_word_of_each_product_must_be_waited_for():
    """The first phase of the backward reads two words: that the later one is there does not mean the earlier one is."""
    reads = READS["two phases, backward"]
    with pytest.raises(BrokenError, match=r"read \{0: None\}"):
        explore(2, reads=reads, unchecked=2)
