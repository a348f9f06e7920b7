"""Shared by the experiments: command line, output folders, figures, tables, progress bars and metrics."""
