#!/usr/bin/env bash
# All that is to be measured on a GPU, in one call, into results/gpu/:
#     SEEFAR_DATA=... bash benchmarks/gpu.sh
# `fast` and `quick` over five seeds, images per second, where a step's time goes, what torch.compile gains, how accuracy
# grows with time, evaluation and maps, and the search for a better `fast`. A second call resumes the first one.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p results/gpu/time_to_accuracy
python=${PYTHON:-.venv/bin/python}
measure() {
    local name=$1
    shift
    [ -s "results/gpu/$name.json" ] || { "$python" "$@" > "results/gpu/$name.part" && mv "results/gpu/$name.part" "results/gpu/$name.json"; }
}
measure throughput benchmarks/throughput.py --rounds 3
measure profile benchmarks/profile_steps.py
measure compiling benchmarks/compiling.py
measure fast benchmarks/seeds.py fast --seeds 5
measure quick benchmarks/seeds.py quick --seeds 5
for recipe in seed quick fast; do
    measure "time_to_accuracy/$recipe" benchmarks/time_to_accuracy.py "$recipe"
done
measure evaluate benchmarks/evaluate.py --run runs/fast-seed-0
measure maps benchmarks/maps.py --run runs/fast-seed-0
"$python" benchmarks/search.py results/gpu/search.jsonl > results/gpu/search.md
