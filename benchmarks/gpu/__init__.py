"""One run on a GPU, planned to the second: `python -m benchmarks.gpu --minutes 8`."""
