"""Stacks of recurrent layers as functions; users find them in `fusedrnn.functional`."""
