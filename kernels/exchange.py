"""How the programs of one lane (a batch tile of one direction) hand their slices to each other.

A program stores its slice, makes all its threads' stores part of one release, and adds one to the lane's counter; a reader
polls that counter with acquire until every slice has arrived. Polls are bounded: a program that waits in vain raises the error
word and goes on without waiting or arriving, so that nothing ever hangs and its neighbours fail too.
"""

import triton
import triton.language as tl


@triton.jit
def arrive(counter_ptr, polls):
    """Publish everything this program has stored so far. One that has waited in vain counts no more: nobody shall go on with it."""
    tl.debug_barrier()
    tl.atomic_add(counter_ptr, (polls > 0).to(tl.int32), sem="release", scope="gpu")


@triton.jit
def wait(counter_ptr, target, polls, error_ptr, launch_id):
    """Wait for ``target`` arrivals, at most ``polls`` times; returns the polls left for the next wait, 0 after a failure."""
    seen = tl.atomic_add(counter_ptr, 0, sem="acquire", scope="gpu")
    left = polls
    while (seen < target) & (left > 0):
        seen = tl.atomic_add(counter_ptr, 0, sem="acquire", scope="gpu")
        left -= 1
    if seen < target:
        tl.store(error_ptr, launch_id)
        polls = 0
    return polls
