"""Experiments that use fusedrnn, each run by one command."""
