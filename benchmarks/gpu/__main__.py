"""`python -m benchmarks.gpu`: see `run`. Its imports take seconds, which are the run's, so the clock is read before them."""

import sys
import time

STARTED = time.monotonic()

from benchmarks.gpu.run import main  # noqa: E402

sys.exit(main(started=STARTED))
