"""The GitHub workflow, which cannot be run here: its claims against those of others."""

import re
import tomllib
from pathlib import Path

import pytest

yaml = pytest.importorskip("yaml")
ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def jobs():
    return yaml.safe_load((ROOT / ".github/workflows/check.yml").read_text(encoding="utf-8"))[
        "jobs"
    ]


def test_it_tests_three_systems_with_the_oldest_python_and_torch_that_are_training_lock(jobs):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    matrix = jobs["test"]["strategy"]["matrix"]
    assert {name.split("-")[0] for name in matrix["os"]} == {"ubuntu", "windows", "macos"}
    assert project["requires-python"] == f">={min(matrix['python'], key=lambda v: int(v[2:]))}"
    [torch] = [d for d in project["dependencies"] if re.match(r"torch\b", d)]
    pins = {row["python"]: row["torch"] for row in matrix["include"]}
    assert set(pins) == set(matrix["python"])
    assert pins[min(pins)] == torch.replace(">=", "==") + ".*" and pins[max(pins)] == "torch"


def test_it_runs_the_quick_tier_of_the_makefile(jobs):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    needs = re.search(r"^NEEDS := (.*)$", makefile, re.M)[1]
    [tests] = [step["run"] for step in jobs["test"]["steps"] if "pytest" in step.get("run", "")]
    assert f'-m "not ({needs} or slow)"' in tests


@pytest.mark.parametrize("name", ["check", "site"])
def test_every_step_names_a_target_or_an_action_with_its_version(name):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    text = (ROOT / f".github/workflows/{name}.yml").read_text(encoding="utf-8")
    for job in yaml.safe_load(text)["jobs"].values():
        for step in job["steps"]:
            assert re.search(r"@\w", step["uses"]) if "uses" in step else step["run"]
            for target in re.findall(r"^make (\S+)$", step.get("run", ""), re.M):
                assert re.search(rf"^{target}:", makefile, re.M), target
