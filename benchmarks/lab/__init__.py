"""Research code that benchmarks use and no command reaches: baselines, removal scores, planted shortcuts."""
