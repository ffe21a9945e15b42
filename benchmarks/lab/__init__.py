"""Research code that the benchmarks need and no command of seefar reaches."""
