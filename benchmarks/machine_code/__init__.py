"""Kernels compiled for a chip that is absent: registers, spills, instructions, and the cycles of a step from the machine code."""
