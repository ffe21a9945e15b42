"""The tables of the docs are what the benchmarks make of the results, and their links lead somewhere."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import seefar
import seefar.training.recipe

ROOT = Path(__file__).parents[1]
DOCS = sorted((ROOT / "docs").glob("*.md"))
RESULTS = sorted((ROOT / "results").glob("**/*.md"))
CURVES = sorted((ROOT / "results" / "time_to_accuracy").glob("*.json"))
STEPS = ("load", "load_again", "evaluate", "report")


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def measured(name: str) -> Any:
    return json.loads(page(f"results/{name}.json"))


def tables() -> dict[str, Callable[[dict[str, object]], str]]:
    spec = importlib.util.spec_from_file_location("tables", ROOT / "benchmarks" / "tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.TABLES


@pytest.mark.parametrize("name", tables())
def test_tables_are_those_of_the_results(name: str) -> None:
    pages = "\n".join(path.read_text(encoding="utf-8") for path in (*DOCS, *RESULTS))
    for part in tables()[name](measured(name)).split("\n\n"):
        assert part in pages


@pytest.mark.parametrize("path", [*DOCS, *RESULTS, ROOT / "README.md"], ids=lambda path: str(path.relative_to(ROOT)))
def test_links_resolve(path: Path) -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")) if "://" not in link]
    assert links
    for link in links:
        assert (path.parent / link).exists(), link


def test_the_reference_names_what_is_public() -> None:
    pages = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "reference").glob("*.md"))
    named = re.findall(r"^::: seefar\.(\w+)$", pages, re.MULTILINE)
    assert sorted(named) == sorted(set(seefar.__all__) - {"__version__"})


def test_every_column_and_section_is_documented() -> None:
    columns, rest = page("docs/run-folder.md").split("## Columns of mistakes.csv")[1].split("## Sections of metrics")
    sections, fields = rest.split("## Fields of manifest.json")
    first_cells = [line.split("|")[1] for line in columns.splitlines() if "|" in line]
    named = set(re.findall(r"`(\w+)`", " ".join(first_cells)))
    assert set(page("results/fast/mistakes.csv").splitlines()[0].split(",")) | {"file"} == named
    named = set(re.findall(r"^\| `(\w+)` \|", sections, re.MULTILINE))
    assert set(measured("fast/metrics")) | {"calibration_after_temperature", "seeds"} == named
    named = set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`.*?`) \|", fields, re.MULTILINE))))
    assert set(measured("fast/manifest")) | {"training"} == named


def test_the_tables_of_scaling_are_those_of_the_results() -> None:
    text = page("results/scaling.md")
    steps = [case[step] for case in measured("size")["cases"].values() for step in STEPS if step in case]
    sizes = [f"{step['peak_mib']:,} | {step['seconds']:,} |" for step in steps]
    assert re.findall(r"\| (?:load[a-z, ]*|evaluate|report) \| (.*\|)", text) == sizes
    found = measured("scaling")
    for name, one in found["median"].items():
        times = "| | |"
        if "all_reduce_ms" in one:
            times = f"{one['all_reduce_ms']:.1f} | {one['agree_ms']:.2f} | {one['communication_share']:.1%} |"
        assert f"| {name} | {one['images_per_second']:.1f} | {times}".rstrip() in text
    single = found["model"]["predicted"][0]
    for one in found["model"]["predicted"][1:4]:
        share = one["images_per_second"] / one["gpus"] / single["images_per_second"]
        cells = [f"{one['gpus']} | {one['images']} | {one['compute_ms']:.1f} | {one['all_reduce_ms']:.1f}"]
        cells += [f"{one['agree_ms']:.1f}", f"{round(one['images_per_second'], -3):,.0f}", f"{share:.0%}"]
        assert f"| {' | '.join(cells)} |" in text


def test_each_function_of_the_architecture_is_in_the_file_that_its_link_names() -> None:
    links = re.findall(r"\[`([\w.]+)`\]\(\.\./([^)]+\.py)\)", page("docs/architecture.md"))
    assert len(links) > 20
    for name, target in links:
        for part in name.removesuffix(".py").split("."):
            defined = re.search(rf"^\s*(?:def|class) {part}\b|^{part}\b.*=", page(target), re.M)
            assert name.endswith(".py") or defined, name


def published() -> Iterator[tuple[str, str]]:
    """Pages, and sentences or rows on them that follow from the results."""
    occlusion = measured("fast/explanation")["occlusion"]
    yield "README.md", f"repairs {occlusion['repaired']['share']:.0%} of the {occlusion['repaired']['n']} mistakes"
    yield "README.md", f"elsewhere repairs {occlusion['shifted']['share']:.0%}"
    exponent = int(np.ceil(np.log10(max(occlusion["p_shifted"], occlusion["p_least"]))))
    yield "README.md", f"least relevant pixels {occlusion['least']['share']:.0%} (McNemar, p < 1e{exponent})"
    for path in CURVES:
        end = measured(f"time_to_accuracy/{path.stem}")["points"][-1]
        yield "docs/performance.md", f"{100 * end['held_out_accuracy']:.1f}%"
        yield "docs/performance.md", f"[`{path.stem}`](../results/time_to_accuracy/{path.name})"
    faults, export, shares = measured("triage"), measured("export"), measured("throughput")["shares"]
    yield "README.md", f"of the {faults['errors']} mistakes"
    for fault in ("label", "ambiguous", "hard", "model"):
        yield "docs/mistakes.md", f"- **`{fault}`, {faults[fault]}"
        yield "README.md", f" {faults[fault]} "
    yield "results/mistakes.md", f"{faults['border']['odds_ratio']:.1f} times"
    onnx = export["float32"]
    row = f"{onnx['bytes'] / 1e6:.1f} MB | {onnx['accuracy']:.2%} | {onnx['answers_that_differ']}"
    yield "docs/elsewhere.md", f"| `model.onnx` | {row} | {onnx['largest_difference_of_a_logit']:.6f} |"
    yield "docs/elsewhere.md", f"on the {export['n']:,} test images"
    yield "docs/elsewhere.md", f"reach {export['torch']['largest_logit']:.1f}."
    (one, other), (pair,) = (measured("compare_precision")[part] for part in ("runs", "pairs"))
    yield "results/performance.md", f"{other['accuracy']:.2%}"
    yield "results/performance.md", f"{one['mistakes'] - len(pair['repaired']):,} mistakes"
    yield "docs/comparison.md", f"on {len(pair['repaired']) + len(pair['broken'])} images"
    yield "results/performance.md", f"{shares['loop / bare_step']:.2f} times that of the bare step"
    yield "docs/performance.md", f"{shares['loop / plain_128']:.1f} times as fast"
    yield "results/performance.md", f"{100 * measured('evaluate')['two_views']['accuracy']:.2f}%"


@pytest.mark.parametrize(("name", "text"), list(published()))
def test_sentences_are_those_of_the_results(name: str, text: str) -> None:
    assert text in " ".join(page(name).split()) or text in page(name)


def test_results_of_the_same_network_have_the_same_accuracy() -> None:
    accuracies = [run["accuracy"] for run in measured("compare_precision")["runs"]]
    assert accuracies[0] == measured("quick")["runs"][0]["accuracy"] == pytest.approx(accuracies[1], abs=0.003)
    assert measured("evaluate")["single"]["accuracy"] == measured("fast/metrics")["test"]["accuracy"]


def test_the_table_of_recipes_is_that_of_the_code() -> None:
    header, _, *rows = re.findall(r"^\| (.*) \|$", page("docs/recipes.md"), re.M)
    names = [name.strip("`") for name in header.split(" | ")[1:]]
    assert names == list(seefar.training.recipe.RECIPES)
    for row in rows:
        field, *values = row.split(" | ")
        for name, value in zip(names, values, strict=True):
            found = getattr(seefar.recipe(name), field.strip("`"))
            assert value == (", ".join(map(str, found)) if isinstance(found, tuple) else str(found)), (field, name)
