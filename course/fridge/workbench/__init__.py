"""What a cell measures, plots and prints with; knows nothing of models or notebooks."""
