"""Experiments that run on fusedrnn; each is one page to read and one command to run."""
