"""Made-up classes: the demo and the benches."""
