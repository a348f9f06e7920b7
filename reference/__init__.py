"""The reference implementation: cells, time loops and helpers in plain PyTorch, against which every kernel is tested."""
