"""What the experiments share: the command line, output folders, figures, tables, progress bars and metrics."""
