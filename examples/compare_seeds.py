"""Compare two trainings that differ in their seed: which mistakes are luck, and which ones both networks make.

python examples/compare_seeds.py
"""

import seefar

data = seefar.load_data("shapes")
names = [f"seed-{seed}" for seed in (0, 1)]
for seed, name in enumerate(names):
    run = seefar.train(seefar.recipe("demo", width=4, epochs=1, seed=seed), data, name)
    seefar.evaluate_run(run, data)

comparison = seefar.compare_runs(names)
pair = comparison.pairs[0]
print(
    f"{pair.second} repairs {len(pair.repaired)} mistakes of {pair.first} and breaks {len(pair.broken)} "
    f"(p = {pair.p:.2g})"
)
print(f"{len(comparison.luck)} of its mistakes are luck, {len(comparison.settled)} are made by both networks")
seefar.plot_comparison(comparison).savefig("comparison.png")
