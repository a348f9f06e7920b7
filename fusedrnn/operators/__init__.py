"""The computations behind the backends as torch operators: the time loop of a layer, dropout, the L2 penalty."""
