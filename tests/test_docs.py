"""The tables of the docs are what the benchmarks make of the results, and their links lead somewhere."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

import seefar
import seefar.training.recipe

ROOT = Path(__file__).parents[1]
DOCS = sorted((ROOT / "docs").glob("*.md"))
RESULTS = sorted((ROOT / "results").glob("**/*.md"))
CURVES = sorted((ROOT / "results" / "time_to_accuracy").glob("*.json"))


def tables() -> dict[str, Callable[[dict[str, object]], str]]:
    spec = importlib.util.spec_from_file_location("tables", ROOT / "benchmarks" / "tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.TABLES


@pytest.mark.parametrize("name", tables())
def test_tables_are_those_of_the_results(name: str) -> None:
    measured = json.loads((ROOT / "results" / f"{name}.json").read_text(encoding="utf-8"))
    pages = "\n".join(path.read_text(encoding="utf-8") for path in (*DOCS, *RESULTS))
    for part in tables()[name](measured).split("\n\n"):
        assert part in pages


@pytest.mark.parametrize("path", CURVES, ids=lambda path: path.stem)
def test_the_ends_of_the_curves_are_told_and_linked(path: Path) -> None:
    *_, end = json.loads(path.read_text(encoding="utf-8"))["points"]
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    (story,) = re.findall(r"## How fast the recipes learn\n(.*?)\n## ", page, flags=re.DOTALL)
    assert f"{100 * end['held_out_accuracy']:.1f} %" in story
    assert f"[`{path.stem}`](../results/time_to_accuracy/{path.name})" in story


@pytest.mark.parametrize("path", [*DOCS, *RESULTS], ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")) if "://" not in link]
    assert links
    for link in links:
        assert (path.parent / link).exists(), link


def test_the_reference_names_what_is_public() -> None:
    pages = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "reference").glob("*.md"))
    named = re.findall(r"^::: seefar\.(\w+)$", pages, re.MULTILINE)
    assert sorted(named) == sorted(set(seefar.__all__) - {"__version__"})


def test_the_shares_of_faults_are_those_of_the_results() -> None:
    measured = json.loads((ROOT / "results" / "triage.json").read_text(encoding="utf-8"))
    page = (ROOT / "docs" / "mistakes.md").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"of the {measured['errors']} mistakes" in " ".join(readme.split())
    for fault in ("label", "ambiguous", "hard", "model"):
        assert f"- **`{fault}`, {measured[fault]}" in page
        assert f" {measured[fault]} " in " ".join(readme.split())
    measurements = (ROOT / "results" / "mistakes.md").read_text(encoding="utf-8")
    assert f"{measured['border']['odds_ratio']:.1f} times" in measurements


def test_what_exported_files_reach_is_that_of_the_results() -> None:
    measured = json.loads((ROOT / "results" / "export.json").read_text(encoding="utf-8"))
    page = (ROOT / "docs" / "elsewhere.md").read_text(encoding="utf-8")
    assert f"on the {measured['n']:,} test images" in page
    found = measured["float32"]
    difference = f"{found['largest_difference_of_a_logit']:.6f}"
    row = f"{found['bytes'] / 1e6:.1f} MB | {found['accuracy']:.2%} | {found['answers_that_differ']} | {difference}"
    assert f"| `model.onnx` | {row} |".replace("%", " %") in page
    assert f"reach {measured['torch']['largest_logit']:.1f}." in page


def test_every_column_and_section_is_documented() -> None:
    page = (ROOT / "docs" / "run-folder.md").read_text(encoding="utf-8")
    columns, rest = page.split("## Columns of mistakes.csv")[1].split("## Sections of metrics.json")
    sections, fields = rest.split("## Fields of manifest.json")
    table = (ROOT / "results" / "fast" / "mistakes.csv").read_text(encoding="utf-8")
    named = {
        name
        for line in columns.splitlines()
        for name in re.findall(r"`(\w+)`", line.split("|")[1] if "|" in line else "")
    }
    assert set(table.splitlines()[0].split(",")) | {"file"} == named
    metrics = json.loads((ROOT / "results" / "fast" / "metrics.json").read_text(encoding="utf-8"))
    assert set(metrics) | {"calibration_after_temperature", "seeds"} == set(
        re.findall(r"^\| `(\w+)` \|", sections, re.MULTILINE)
    )
    manifest = json.loads((ROOT / "results" / "fast" / "manifest.json").read_text(encoding="utf-8"))
    first_cells = re.findall(r"^\| (`.*?`) \|", fields, re.MULTILINE)
    assert set(manifest) | {"training"} == set(re.findall(r"`(\w+)`", " ".join(first_cells)))


def test_the_table_of_sizes_is_that_of_the_results() -> None:
    page = (ROOT / "results" / "scaling.md").read_text(encoding="utf-8")
    cases = json.loads((ROOT / "results" / "size.json").read_text(encoding="utf-8"))["cases"]
    measured = [
        f"{case[step]['peak_mib']:,} | {case[step]['seconds']:,} |"
        for case in cases.values()
        for step in ("load", "load_again", "evaluate", "report")
        if step in case
    ]
    assert re.findall(r"\| (?:load[a-z, ]*|evaluate|report) \| (.*\|)", page) == measured


def test_the_tables_of_scaling_are_those_of_the_results() -> None:
    page = (ROOT / "results" / "scaling.md").read_text(encoding="utf-8")
    found = json.loads((ROOT / "results" / "scaling.json").read_text(encoding="utf-8"))
    for name, one in found["median"].items():
        alone = "all_reduce_ms" not in one
        times = (
            "| | |"
            if alone
            else f"{one['all_reduce_ms']:.1f} | {one['agree_ms']:.2f} | {one['communication_share']:.1%} |"
        )
        assert f"| {name} | {one['images_per_second']:.1f} | {times.replace('%', ' %')}".rstrip() in page
    single = found["model"]["predicted"][0]
    for one in found["model"]["predicted"][1:4]:
        share = one["images_per_second"] / one["gpus"] / single["images_per_second"]
        cells = [f"{one['gpus']} | {one['images']} | {one['compute_ms']:.1f} | {one['all_reduce_ms']:.1f}"]
        cells += [f"{one['agree_ms']:.1f}", f"{round(one['images_per_second'], -3):,.0f}", f"{share:.0%}"]
        assert f"| {' | '.join(cells).replace('%', ' %')} |" in page


def test_what_bfloat16_costs_is_that_of_the_results() -> None:
    compared = json.loads((ROOT / "results" / "compare_precision.json").read_text(encoding="utf-8"))
    of_float32 = json.loads((ROOT / "results" / "quick.json").read_text(encoding="utf-8"))["runs"][0]["accuracy"]
    (one, other), (pair,) = compared["runs"], compared["pairs"]
    assert one["accuracy"] == of_float32
    assert abs(one["accuracy"] - other["accuracy"]) < 0.003
    text = (ROOT / "results" / "performance.md").read_text(encoding="utf-8")
    alone = len(pair["repaired"]), len(pair["broken"])
    for figure in (f"{other['accuracy']:.2%}".replace("%", " %"), f"{one['mistakes'] - alone[0]:,} mistakes"):
        assert figure in text
    comparison = (ROOT / "docs" / "comparison.md").read_text(encoding="utf-8")
    assert f"on {sum(alone)} images" in " ".join(comparison.split())


def test_each_function_of_the_architecture_is_in_the_file_that_its_link_names() -> None:
    page = ROOT / "docs" / "architecture.md"
    links = re.findall(r"\[`([\w.]+)`\]\(([^)]+\.py)\)", page.read_text(encoding="utf-8"))
    assert len(links) > 20
    for name, target in links:
        source = (page.parent / target).read_text(encoding="utf-8")
        for part in name.removesuffix(".py").split("."):
            assert name.endswith(".py") or re.search(rf"^\s*(?:def|class) {part}\b|^{part}\b.*=", source, re.M), name


def test_the_measured_speed_is_that_of_the_results() -> None:
    page = (ROOT / "results" / "performance.md").read_text(encoding="utf-8")
    shares = json.loads((ROOT / "results" / "throughput.json").read_text(encoding="utf-8"))["shares"]
    assert f"{shares['loop / bare_step']:.2f} times that of the bare step" in page
    assert f"{shares['loop / plain_128']:.1f} times as fast" in (ROOT / "docs" / "performance.md").read_text(
        encoding="utf-8"
    )
    views = json.loads((ROOT / "results" / "evaluate.json").read_text(encoding="utf-8"))
    test = json.loads((ROOT / "results" / "fast" / "metrics.json").read_text(encoding="utf-8"))["test"]
    assert views["single"]["accuracy"] == test["accuracy"]
    assert f"{100 * views['two_views']['accuracy']:.2f} %" in page


def test_the_table_of_recipes_is_that_of_the_code() -> None:
    header, _, *rows = re.findall(r"^\| (.*) \|$", (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8"), re.M)
    names = [name.strip("`") for name in header.split(" | ")[1:]]
    assert names == list(seefar.training.recipe.RECIPES)
    for row in rows:
        field, *values = row.split(" | ")
        for name, value in zip(names, values, strict=True):
            found = getattr(seefar.recipe(name), field.strip("`"))
            assert value == (", ".join(map(str, found)) if isinstance(found, tuple) else str(found)), (field, name)
