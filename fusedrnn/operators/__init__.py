"""The computations of the backends as torch operators: the sweeps of a layer, dropout, the L2 penalty."""
