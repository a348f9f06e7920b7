"""The timeline decodes control codes and plays loops whose cycles can be counted by hand."""

from dataclasses import replace

import pytest

from benchmarks.machine_code.sass import NONE, Instruction, parse, products_inside, time_loop
from benchmarks.machine_code.timeline import H100, ROUNDS, cycles

LATENCY = replace(H100, l2=200, dram=500, gpu_fence=400, block_fence=20, seen=100, barrier=10, shared=30, special=25)


def instruction(name, stall=1, *, at=0, arguments="", result=NONE, operands=NONE, waits=0):
    return Instruction(at, name, arguments, stall, result, operands, waits)


def played(*body, warps=1):
    return cycles(list(body), warps, LATENCY)[0]


def line(at, text, *, stall=1, result=NONE, operands=NONE, waits=0):
    """An instruction as cuobjdump prints it."""
    code = stall << 41 | operands << 49 | result << 46 | waits << 52
    return f"        /*{at:04x}*/     {text} ;   /* 0x{at:016x} */\n                        /* 0x{code:016x} */\n"


def test_control_codes_are_decoded():
    sass = "\tcode for sm_90\n"
    load = "@!P0 LDG.E.128.STRONG.GPU R4, desc[UR4][R2.64]"
    sass += line(0x10, load, stall=5, result=3, operands=2, waits=0b100001)
    sass += line(0x20, "BRA 0x10", stall=15) + "        ..........\n"
    load, branch = parse(sass)
    assert (load.at, load.name, load.arguments) == (0x10, "LDG.E.128.STRONG.GPU", "R4, desc[UR4][R2.64]")
    assert (load.stall, load.result, load.operands, load.waits) == (5, 3, 2, 0b100001)
    assert load.carries_data
    assert load.kind == "LDG"
    assert (branch.name, branch.stall, branch.result, branch.operands, branch.waits) == ("BRA", 15, NONE, NONE, 0)


def test_a_step_without_waiting_takes_the_stalls():
    assert played(instruction("IADD3", 4), instruction("IMAD", 5), instruction("BRA", 2)) == 11


@pytest.mark.parametrize(
    ("name", "there"),
    [("LDG.E", 500), ("LDS", 30), ("MUFU.EX2", 25), ("S2R", H100.other), ("LDSM.16.M88.4", H100.matrix), ("IADD3", 2)],
)
def test_a_result_is_waited_for_by_its_scoreboard_and_by_no_other(name, there):
    first = instruction(name, 1, result=2)
    assert played(first, instruction("FADD", 4, waits=0b100)) == there + 4
    assert played(instruction("IADD3", 1), instruction("FADD", 4, waits=0b100)) == 5
    if name == "IADD3":
        assert played(first, instruction("FADD", 4, waits=0b010)) == 5


def test_operands_hold_a_scoreboard_until_they_are_read():
    assert played(instruction("STG.E", 1, operands=1), instruction("FADD", 4, waits=0b10)) == 16 + 4
    assert played(instruction("R2UR", 1, operands=1), instruction("FADD", 4, waits=0b10)) == 10 + 4


def test_warps_of_a_sub_core_share_its_issue_slot():
    body = [instruction("IADD3", 1)] * 8
    assert played(*body, warps=4) == 8
    assert played(*body, warps=8) == pytest.approx(16, abs=1)


def test_a_pipe_is_occupied_by_the_warps_that_use_it():
    special = [instruction("MUFU.EX2", 1)] * 4
    assert played(*special) == 4 * 8
    assert played(*special, warps=4) == 4 * 8  # each on its own sub-core
    assert played(*special, warps=8) == pytest.approx(2 * 4 * 8, abs=8)
    shared = [instruction("LDS.128", 1)] * 4
    assert played(*shared, warps=4) == pytest.approx(4 * 4 * 4, abs=4)  # one port for all of them
    assert played(*[instruction("HMMA.16816.F32", 1)] * 3) == 24
    assert played(*[instruction("HMMA.1688.F32", 1)] * 3) == 12
    assert played(*[instruction("LDG.E.128", 1)] * 3) == 24
    assert played(*[instruction("LDSM.16.M88.4", 1)] * 3) == 12


def test_a_barrier_lets_all_go_on_when_the_last_has_come():
    body = [instruction("LDG.E.128", 1), instruction("BAR.SYNC", 1), instruction("IADD3", 3)]
    assert played(*body) == 1 + 1 + 10 + 3
    assert played(*body, warps=2) == 8 + 1 + 1 + 10 + 3  # the second warp's load waits for the first one's


def test_a_fence_takes_what_its_scope_takes():
    assert played(instruction("MEMBAR.ALL.GPU", 1)) == 400
    assert played(instruction("MEMBAR.ALL.CTA", 1)) == 20
    assert played(instruction("WARPGROUP.DEPBAR.LE", 1)) == 40


FAR = replace(LATENCY, seen=300)


def test_a_counter_is_seen_a_while_after_it_was_raised():
    poll, use, add = (
        instruction("LDG.E.STRONG.GPU", result=0),
        instruction("FADD", 4, waits=1),
        instruction("RED.E.ADD"),
    )
    assert cycles([poll, use, add], 1, FAR)[0] == 300 + 200 / 2 + 4  # from one addition to the next
    assert cycles([poll, use, add], 1, LATENCY)[0] == 200 + 4 + 1  # seen before the load could come back
    assert played(instruction("ATOMG.E.ADD", result=0), use) == 200 + 4


def test_data_that_is_polled_is_seen_a_while_after_the_first_store():
    load, use = instruction("LDG.E.128.STRONG.GPU", result=0), instruction("FADD", 4, waits=1)
    store, counted = instruction("STG.E"), instruction("RED.E.ADD")
    assert cycles([load, use, store, store], 1, FAR)[0] == 300 + 200 / 2 + 4
    assert (
        cycles([load, use, counted], 1, FAR)[0] == 200 + 4 + 1
    )  # with a counter the data is there when it is asked for


def test_each_of_two_exchanges_in_a_step_is_waited_for():
    load, use = instruction("LDG.E.128.STRONG.GPU", result=0), instruction("FADD", 4, waits=1)
    exchange = [load, load, use, instruction("STG.E"), instruction("STG.E")]
    one, two = cycles(exchange, 1, FAR)[0], cycles([*exchange, *exchange], 1, FAR)[0]
    assert one == 300 + 200 / 2 + 4
    assert two == 2 * one
    assert cycles([*exchange, *exchange], 4, FAR)[0] == pytest.approx(two, abs=40)


def test_the_time_loop_is_the_largest_and_polls_succeed_at_once():
    code = [
        instruction("IADD3", at=0x00), instruction("BRA", at=0x10, arguments="0x0"),
        instruction("FADD", at=0x20), instruction("LDG.E.STRONG.GPU", at=0x30), instruction("BRA", at=0x40, arguments="0x30"),
        instruction("LDG.E.128.STRONG.GPU", at=0x50), instruction("BRA", at=0x60, arguments="0x50"),
        instruction("BRA", at=0x70, arguments="`(.L_x), 0x20"), instruction("EXIT", at=0x80),
        instruction("BRA", at=0x90, arguments="0x90"),
    ]  # fmt: skip
    assert [one.at for one in time_loop(code)] == [0x20, 0x50, 0x60, 0x70]
    with pytest.raises(ValueError, match="expected a loop, got none"):
        time_loop(code[2:4])


def looped(*inside):
    """A time loop with a loop in it: some work, the inner loop, a store, and the branch back."""
    body = [instruction("IMAD", at=0x00), *(replace(one, at=0x10 * k) for k, one in enumerate(inside, 1))]
    end = 0x10 * len(body)
    body += [instruction("BRA", at=end, arguments="0x10"), instruction("FADD", 4, at=end + 0x10, waits=1)]
    body += [instruction("STG.E", at=end + 0x20), instruction("BRA", at=end + 0x30, arguments="0x0")]
    return body


def test_data_polled_in_a_retry_loop_is_loaded_once_and_seen_a_while_after_the_store():
    retried = looped(instruction("LDG.E.128.STRONG.GPU", result=0), instruction("ISETP", waits=1))
    body = time_loop(retried)
    assert [one.kind for one in body] == ["IMAD", "LDG", "ISETP", "BRA", "FADD", "STG", "BRA"]
    after_the_load = 1 + 1 + 4  # the comparison, the branch and the sum
    assert cycles(body, 1, FAR)[0] == 300 + 200 / 2 + after_the_load
    counted = [replace(one, name="RED.E.ADD") if one.kind == "STG" else one for one in body]
    assert cycles(counted, 1, FAR)[0] == 1 + 200 + after_the_load + 1 + 1  # no longer its own flag


def test_a_loop_inside_that_multiplies_is_told_from_a_poll():
    assert not products_inside(looped(instruction("LDG.E.STRONG.GPU")))
    assert not products_inside(looped(instruction("LDG.E.128.STRONG.GPU"), instruction("ISETP")))
    for product in ("HMMA.16816.F32.BF16", "HGMMA.64x16x16.F32", "DMMA.8x8x4", "FFMA", "DFMA"):
        assert products_inside(looped(instruction("LDG.E.128"), instruction(product))) == 1
    outside = looped(instruction("LDG.E.STRONG.GPU"))
    assert not products_inside([replace(outside[0], name="HMMA.16816.F32.BF16"), *outside[1:]])
    with pytest.raises(ValueError, match="expected a loop, got none"):
        products_inside(outside[:2])


def test_a_loop_inside_that_multiplies_is_repeated_and_loads_from_the_second_level_cache():
    """A weight, and a product with it: by hand, a pass waits for one load; a load outside the loop comes from memory."""
    code = looped(instruction("LDG.E.128", 1, result=0), instruction("FFMA", 4, waits=1))
    kinds = [one.kind for one in time_loop(code, 3)]
    assert kinds == ["IMAD", *["LDG", "FFMA", "BRA"] * 3, "FADD", "STG", "BRA"]
    assert [one.kind for one in time_loop(code, 3) if one.again] == ["LDG", "FFMA", "BRA"] * 3
    two, three, six = (cycles(time_loop(code, passes), 1, LATENCY)[0] for passes in (2, 3, 6))
    assert three - two == LATENCY.l2 + 4 + 1
    assert six == two + 4 * (three - two)
    two_loops = [one for one in code if one.kind not in ("STG", "FADD")][:-1]
    two_loops += [replace(one, at=one.at + 0x100, arguments="0x110") for one in two_loops[1:]]
    two_loops += [instruction("BRA", at=0x200, arguments="0x0")]
    kinds = [(one.kind, one.at) for one in time_loop(two_loops, 2)]
    first, second = [("LDG", 0x10), ("FFMA", 0x20), ("BRA", 0x30)], [("LDG", 0x110), ("FFMA", 0x120), ("BRA", 0x130)]
    assert kinds == [("IMAD", 0), *first * 2, *second * 2, ("BRA", 0x200)]
    plain = [instruction("LDG.E.128", 1, result=0), instruction("FFMA", 4, waits=1)]
    assert cycles(plain, 1, LATENCY)[0] == LATENCY.dram + 4


def test_the_step_that_counts_follows_others():
    assert ROUNDS > 2
    first = [instruction("LDG.E.STRONG.GPU", 1, result=0), instruction("FADD", 4, waits=1), instruction("RED.E.ADD", 1)]
    _, issued = cycles(first, 1, LATENCY)
    assert issued[0][0] > (ROUNDS - 2) * 150
    assert [one.kind for _, one in issued] == ["LDG", "FADD", "RED"]
