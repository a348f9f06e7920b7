"""The textbook: plain PyTorch cells, loops and helpers, the specification that every kernel is tested against."""
