"""The tables of the docs, in Markdown, from the JSON in results/.

    python benchmarks/tables.py NAME

NAME is that of a file in results/, one of TABLES below. The tests compare the tables with the pages.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from lab.measuring import arguments
from seefar.training.state import read_history

RESULTS = Path(__file__).parents[1] / "results"

QUESTIONS = {
    "Does the 8x8 twin beat bilinear 4x4 Grad-CAM?": "gradcam, layer4",
    "Does it beat Grad-CAM at layer 3, the other way to 8x8?": "gradcam, layer3",
    "Does it beat HiResCAM at layer 2?": "hirescam, layer2",
    "Does it beat LayerCAM at layer 2?": "layercam, layer2",
    "Does it beat random maps?": "random",
    "Does it beat a blob in the centre?": "centre",
    "Does it beat the edges of the image?": "edges",
}


def table(head: str, rows: Iterable[str]) -> str:
    """A table in Markdown: the head and each row without their outer bars."""
    rule = "|" + "---|" * (head.count(" | ") + 1)
    return "\n".join([f"| {head} |", rule, *(f"| {row} |" for row in rows)])


def ground_truth(measured: dict[str, Any]) -> str:
    """The methods on `shapes`, then the planted shortcut at three finenesses."""
    shapes, trainings = measured["shapes"], measured["shortcut"]
    methods = []
    for name, found in shapes["methods"].items():
        after = found["rank_correlation_after_randomising"]
        correlations = " | ".join(f"{after[part]:.2f}" for part in ("fc", "layer4", "layer3", "conv1"))
        pointing, inside = found["pointing"], found["evidence_inside"]
        start = f"{name} | {pointing['n']} | {pointing['share']:.0%} | {inside:.0%}"
        other = found["rank_correlation_with_another_image"]
        methods.append(f"{start} | {correlations} | {other:.2f} | {found['flip_agreement']:.2f}")
    methods.append(f"by chance | | {shapes['chance']:.0%} | {shapes['chance']:.0%} | | | | | |")
    head = "method | n | pointing game | evidence inside | after fc | layer4 | layer3 | all random | another image"

    def over_trainings(share: Callable[[dict[str, Any]], float]) -> str:
        cells = []
        for fineness in trainings[0]:
            shares = [share(training[fineness]) for training in trainings]
            cells.append(f"{sum(shares) / len(shares):.1%} ({min(shares):.1%} to {max(shares):.1%})")
        return " | ".join(cells)

    rows: dict[str, Callable[[dict[str, Any]], float]] = {
        "middle of the highest cell in the patch": lambda found: found["pointing"]["share"],
        "the same, did the cells share the image evenly": lambda found: found[
            "pointing_if_cells_shared_the_image_evenly"
        ]["share"],
        "hiding the evidence repairs the prediction": lambda found: found["repaired"]["share"],
        "hiding the control mask does": lambda found: found["shifted_control"]["share"],
        "hiding the least relevant pixels does": lambda found: found["least_relevant_control"]["share"],
        "share of the evidence in the patch": lambda found: found["evidence_inside"],
        "the patch's share of the image": lambda found: found["chance"],
        "middle of the highest cell at its place when it is absent": lambda found: found["without_patch"][
            "pointing_at_its_place"
        ]["share"],
    }
    finenesses = " | ".join(f"{fineness} cells" for fineness in trainings[0])
    planted_rows = (f"{label} | {over_trainings(share)}" for label, share in rows.items())
    return f"{table(f'{head} | mirrored', methods)}\n\n{table(f'planted shortcut | {finenesses}', planted_rows)}"


def faithfulness(measured: dict[str, Any]) -> str:
    """One row a contender, the scores on mistakes and on correct predictions; then the questions."""
    scores = ("deletion", "insertion", "road")
    contenders, answers = [], []
    for name, on_mistakes in measured["mistakes"].items():
        on_right = measured["right"][name]
        values = [f"{part[score]['mean']:.3f}" for score in scores for part in (on_mistakes, on_right)]
        few = f" (n = {on_mistakes['n']})" if on_mistakes["n"] < measured["images"] else ""
        contenders.append(f"{name}{few} | {' | '.join(values)}")
    for question, rival in QUESTIONS.items():
        for group in ("mistakes", "right"):
            of_rival = measured[group][rival]
            cells = []
            for score in scores:
                low, high = of_rival[score]["lead_interval"]
                verdict = "yes" if low > 0 else "no" if high < 0 else "not clear"
                cells.append(f"{verdict}, {of_rival[score]['default_leads_by']:+.3f} ({low:+.3f} to {high:+.3f})")
            answers.append(f"{question} | {group} | {' | '.join(cells)}")
    head = "method, cells | deletion ↓ mistakes | right | insertion ↑ mistakes | right | ROAD ↑ mistakes | right"
    return f"{table(head, contenders)}\n\n{table('question | on | deletion | insertion | ROAD', answers)}"


def repair(measured: dict[str, Any]) -> str:
    """The occlusion test by what takes the place of hidden pixels, then by whose map says what to hide."""

    def cell(rate: dict[str, Any], p: float | None = None) -> str:
        text = "{:.0%} ({:.0%} to {:.0%})".format(rate["share"], *rate["interval"])
        return text if p is None else f"{text}, p = {p:.1g}"

    def rival(name: str) -> Callable[[dict[str, Any]], str]:
        return lambda rates: cell(rates["rivals"][name], rates["rivals"][name]["p"])

    fills = measured["hide"]
    first = next(iter(fills.values()))
    mistakes, right = first["repaired"]["n"], first["damaged"]["n"]
    rows: dict[str, Callable[[dict[str, Any]], str]] = {
        f"hiding the evidence repairs the prediction (n = {mistakes})": lambda rates: cell(rates["repaired"]),
        "it gives another wrong prediction": lambda rates: cell(rates["other"]),
        "the control mask repairs it": lambda rates: cell(rates["shifted"], rates["p_shifted"]),
        "the least relevant pixels": lambda rates: cell(rates["least"], rates["p_least"]),
        "the mask of another mistake": rival("another"),
        "a blob in the centre": rival("centre"),
        "the edges of the image": rival("edges"),
        "pixels at random": rival("random"),
        f"hiding the evidence breaks a correct prediction (n = {right})": lambda rates: cell(rates["damaged"]),
    }
    of_fills = (f"{label} | {' | '.join(map(show, fills.values()))}" for label, show in rows.items())
    by = {"Grad-CAM, twin 8x8": first} | {f"{name}, layer2": rates for name, rates in measured["layer2"].items()}
    shared = {
        "hiding it repairs the prediction": "repaired",
        "hiding the control mask does": "shifted",
        "hiding its least relevant pixels does": "least",
        "hiding it breaks a correct prediction": "damaged",
    }
    of_maps = (f"{label} | {' | '.join(cell(rates[key]) for rates in by.values())}" for label, key in shared.items())
    heads = f"hidden pixels become | {' | '.join(fills)}", f"evidence by | {' | '.join(by)}"
    return f"{table(heads[0], of_fills)}\n\n{table(heads[1], of_maps)}"


def throughput(measured: dict[str, Any]) -> str:
    """Best and median rate of each contender."""
    rows = (
        f"`{name}` | {found['unit']} | {found['best']:.0f} | {found['median']:.0f} | {found['n']}"
        for name, found in measured["results"].items()
    )
    return table("what runs | unit | best | median | n", rows)


def cost(measured: dict[str, Any]) -> str:
    """Rate of the bare step, and time of an image beside that of the usual step, which comes first."""
    rows = measured["results"]
    usual = rows[0]
    lines = []
    for row in rows:
        rate = row["images_per_second"]["median"]
        time = usual["images_per_second"]["median"] / rate
        flop = (row["size"] / usual["size"]) ** 2 * (row["width"] / usual["width"]) ** 2
        lines.append(f"{row['size']} | {row['width']} | {row['batch']} | {rate:.0f} | {time:.2f} | {flop:.2f}")
    return table("image size | width | batch | images/s | time of an image | FLOPs of an image", lines)


def quick(measured: dict[str, Any]) -> str:
    """The test accuracy of each seed."""
    rows = []
    for run in measured["runs"]:
        low, high = run["interval"]
        minutes, seconds = divmod(round(run["seconds"]), 60)
        rows.append(f"{run['seed']} | {run['accuracy']:.2%} | {low:.2%} to {high:.2%} | {minutes}:{seconds:02} min")
    return table("seed | test accuracy | 95% interval | training", rows)


def triage(measured: dict[str, Any]) -> str:
    """Faults; accuracy seen several ways; published nets beside ours; confused pairs; slices."""

    def per_cent(share: float, interval: list[float]) -> str:
        return f"{share:.2%} | {interval[0]:.2%} to {interval[1]:.2%}"

    faults, nets, pairs, slices = [], [], [], []
    for fault, found in measured["faults"].items():
        low, high = found["interval"]
        faults.append(f"`{fault}` | {found['mistakes']} | {found['share']:.0%} | {low:.0%} to {high:.0%}")
    views = (
        f"{per_cent(view['accuracy'], view['interval'])} | {view['n']:,} | {view['meaning']}"
        for view in measured["accuracy"]
    )
    judged = {"`fast`": measured} | measured["published"]
    for name, found in sorted(judged.items(), key=lambda item: -item[1]["errors"]):
        counts = (f"{found[fault]}" for fault in measured["faults"])
        nets.append(f"{name} | {found['errors']} | {' | '.join(counts)}")
    for pair in measured["confused_pairs"]:
        ways = f"{pair['first_as_second']} | {pair['second_as_first']}"
        pairs.append(f"{pair['first']} taken for {pair['second']} | {ways} | {pair['share']:.0%}")
    for one in (*measured["slices"], measured["border"]):
        rates = f"{one['error_rate']:.1%} | {one['rest_error_rate']:.1%}"
        slices.append(f"{one['name']}: {one['meaning']} | {rates} | {one['p_holm']:.2g}")
    tables = {
        "fault | mistakes | share | 95% interval": faults,
        "accuracy | 95% interval | images | which": views,
        "net | mistakes | `label` | `ambiguous` | `hard` | `model`": nets,
        "confused | one way | the other | of all mistakes": pairs,
        "a tenth of the images | mistakes in it | elsewhere | p, corrected": slices,
    }
    return "\n\n".join(table(head, rows) for head, rows in tables.items())


def percent(rate: dict[str, Any] | None) -> str:
    """A share with its 95% interval."""
    return "-" if rate is None else "{:.0%} ({:.0%} to {:.0%})".format(rate["share"], *rate["interval"])


def label_issues(measured: dict[str, Any]) -> str:
    """Precision and recall on CIFAR-10 and on planted noise, beside the list by loss."""
    rows = {"CIFAR-10's 54 checked errors": measured["cifar10"]}
    trained = {"noisy_training": "trained on labels with the same noise", "clean_training": "trained on clean labels"}
    for share, nets in measured["shapes"].items():
        rows |= {f"`shapes`, {share} changed, {trained[name]}": found for name, found in nets.items()}
    lines = []
    for name, found in rows.items():
        issues, loss = found["issues"], found["by_loss"]
        rates = " | ".join(percent(part[key]) for part in (issues, loss) for key in ("precision", "recall"))
        lines.append(f"{name} | {found['wrong_labels']} | {issues['listed']} | {rates}")
    return table("labels | wrong | listed | precision | recall | precision by loss | recall by loss", lines)


def verdicts(measured: dict[str, Any]) -> str:
    """What each kind of evidence is worth; and the rule beside its baselines, on the mistakes with odd index."""
    faults = list(next(iter(measured["evidence"].values())))
    kinds, rows = [], []
    for name, found in measured["evidence"].items():
        cells = ("{:.2f} ({:.2f} to {:.2f})".format(found[f]["auc"], *found[f]["interval"]) for f in faults)
        kinds.append(f"{name} | {' | '.join(cells)}")
    for network, found in measured["networks"].items():
        for fault, row in found["rule"]["verdicts"].items():
            if row["given"]:
                by_loss = percent(found["by_loss"]["verdicts"][fault]["precision"]) if "by_loss" in found else "-"
                cells = f"{row['by_chance']:.0%} | {row['given']} of {found['rule']['n']}"
                cells = f"{cells} | {percent(row['precision'])} | {percent(row['recall'])} | {by_loss}"
                rows.append(f"{network} | `{fault}` | {cells}")
    evidence = table(f"evidence | {' | '.join(f'`{fault}`' for fault in faults)}", kinds)
    head = "mistakes of | verdict | by chance | given | precision | recall | precision by loss alone"
    return f"{evidence}\n\n{table(head, rows)}"


def planted(measured: dict[str, Any]) -> str:
    """Verdicts `label` on changed labels, and the verdicts on blended images."""
    changed, blended = [], []
    for share, runs in measured["labels"].items():
        for found in runs.values():
            cells = f"{found['by_chance']:.0%} | {percent(found['precision'])} | {percent(found['recall'])}"
            changed.append(f"{share} | {found['runs']} | {cells}")
    names = ("label", "hard", "model", "unknown")
    for runs in ("one_run", "three_runs"):
        found = measured["blends"][runs]
        for rows, meaning in (("bad", "on blended images"), ("other", "on other images")):
            counts = " | ".join(str(found["given"][rows][name]) for name in names)
            blended.append(f"{meaning} | {found['runs']} | {counts}")
    head = f"mistakes | runs | {' | '.join(f'`{name}`' for name in names)}"
    return f"{table('labels changed | runs | by chance | precision | recall', changed)}\n\n{table(head, blended)}"


def retraining(measured: dict[str, Any]) -> str:
    """How many mistakes are repaired when training images are left out."""
    rows = []
    for name, words in (
        ("nearest", "the nearest of the predicted class"),
        ("random", "as many of the same classes, by chance"),
        ("nothing", "none"),
    ):
        found = measured[name]
        seeds = ", ".join(map(str, found["repaired_by_seed"]))
        rows.append(f"{words} | {percent(found['repaired'])} | {seeds} | {found['true_probability']:.1%}")
    return table("left out | repaired | of each seed | mean probability of the true class", rows)


def seed(published: dict[str, Any]) -> str:
    """The asked-for recipe epoch by epoch, ours and the published log: mean of six lines' losses, training accuracy."""
    history = read_history(RESULTS / "seed" / "history.csv")
    lines = []
    for their in published["epochs"]:
        losses, rows = their["losses"], [row for row in history if row.epoch == their["epoch"]]
        loss = sum(row.loss for row in rows[: len(losses)]) / len(losses)
        published_loss = sum(losses) / len(losses)
        accuracy = 100 * rows[-1].epoch_accuracy
        accuracies = f"{accuracy:.2f}% | {their['accuracy']:.2f}%"
        lines.append(f"{their['epoch']} | {loss:.3f} | {published_loss:.3f} | {accuracies}")
    return table("epoch | loss, ours | published | training accuracy, ours | published", lines)


def gpu_steps(measured: dict[str, Any]) -> str:
    """Milliseconds of a step on a GPU, as it is and replayed."""
    rows = []
    for batch in (128, 4):
        times = measured[f"batch_{batch}"]
        itself, replayed = (", ".join(f"{time:.{n}f}" for time in times[k]) for k, n in (("eager", 1), ("replayed", 2)))
        rows.append(f"{batch} | {itself} | {replayed}")
    return table("batch | the step itself | replayed", rows)


def gpu_tuning(measured: dict[str, Any]) -> str:
    """Held-out accuracy of each bundle after 5 and after 20 epochs, and its end on the training images."""
    runs = {(run["name"], run["epochs"]): run for run in measured["held_out"]}
    lines = []
    for (name, epochs), run in runs.items():
        if epochs == 5:
            continue
        short = runs.get((name, 5))
        first = f"{short['held_out_accuracy'][-1]:.2%}" if short else "not run"
        lines.append(f"{name} | {first} | {run['held_out_accuracy'][-1]:.2%} | {run['training_accuracy']:.1%}")
    return table("bundle | 5 epochs at 32 px | 20 epochs | on its own augmented training images", lines)


TABLES = {
    "ground_truth": ground_truth,
    "faithfulness": faithfulness,
    "repair": repair,
    "throughput": throughput,
    "throughput_avx2": throughput,
    "cost": cost,
    "quick": quick,
    "triage": triage,
    "label_issues": label_issues,
    "verdicts": verdicts,
    "planted": planted,
    "retraining": retraining,
    "seed/published": seed,
    "gpu/steps": gpu_steps,
    "gpu/tuning": gpu_tuning,
}


def main() -> None:
    """Print the tables of one result."""
    name = arguments(__doc__, "name").name
    print(TABLES[name](json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main()
