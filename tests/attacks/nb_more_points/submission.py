"""Claims that the test cell is worth 100 points."""
