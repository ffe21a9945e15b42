"""Judge predictions from elsewhere: metrics, mistakes, label issues and, for CIFAR-10, the cause of each mistake.

python examples/judge_predictions.py                    # made-up logits for the built-in data set
python examples/judge_predictions.py logits.npy         # logits (10000, 10) for CIFAR-10's test set, official order
"""

import sys

import numpy as np

import seefar

if len(sys.argv) > 1:
    test, logits = seefar.load_data("cifar10").test, np.load(sys.argv[1])
else:
    test = seefar.load_data("shapes").test
    logits = np.random.default_rng(0).normal(0, 1, (len(test), 10)) + 3 * np.eye(10)[test.labels]

predictions = seefar.Predictions.of(logits, test)
evaluation = seefar.Evaluation.of(predictions)
low, high = evaluation.metrics.interval
print(f"accuracy {evaluation.metrics.accuracy:.2%} (95% interval {low:.2%} to {high:.2%})")

issues = seefar.find_label_issues(test.labels, np.exp(predictions.log_probabilities), test.classes)
for issue in issues[:3]:
    print(f"image {issue.index}: {issue.sentence}")

if len(sys.argv) > 1:
    for verdict in seefar.triage(test.labels, predictions.predicted, seefar.load_reference())[:3]:
        print(f"image {verdict.index}: {verdict.fault}: {verdict.sentence}")
page = seefar.write_report("report.html", test, evaluation, name="from elsewhere", data="shapes")
print(f"open {page}")
