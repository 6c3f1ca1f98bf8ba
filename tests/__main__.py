"""All checks, the same by hand and in CI: `python -m tests`; stops at the first that fails.

Types are checked beside the tests, which often wait, and are reported after them.

`python -m tests --random` runs the property tests alone, longer and on new examples each time;
words after it are passed on to pytest.
"""

import os
import subprocess
import sys
from pathlib import Path

LINT_IMPORTS = str(Path(sys.executable).with_name("lint-imports"))
# A process for each core; a file's tests stay together, as they share what was made for them.
PYTEST = ("pytest", "-n", "auto", "--dist", "loadfile", "--no-loadscope-reorder")
# Of these processes alone, by probes that go away once they were hit: 3 % more time on 687 tests,
# where coverage.py on Python 3.11 takes 69 %. pytest cannot rewrite what is at work already.
SLIPCOVER = (sys.executable, "-m", "slipcover", "--source", "lesionseg", "--skip-covered")
TESTS = (*SLIPCOVER, "-m", *PYTEST, "-W", "ignore:Module already imported")
TYPES = (sys.executable, "-m", "mypy")
QUICK = (
    (sys.executable, "-m", "ruff", "format", "--check"),
    (sys.executable, "-m", "ruff", "check"),
    (LINT_IMPORTS,),
)
RANDOM = (sys.executable, "-m", *PYTEST, "-m", "hypothesis", "--hypothesis-profile=random")

# Keep bytecode whatever the machine says: else each process rewrites the asserts of all tests anew.
environment = {
    name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
}


def show(check: tuple[str, ...]) -> None:
    """Print a command line."""
    print("$", Path(check[0]).name, *check[1:], flush=True)


def run(check: tuple[str, ...]) -> int:
    """Run a check, and return its status."""
    show(check)
    return subprocess.run(check, env=environment, check=False).returncode


def run_all() -> int:
    """Run all checks, and return the status of the first that fails, or 0."""
    for check in QUICK:
        if status := run(check):
            return status
    pipe, merged = subprocess.PIPE, subprocess.STDOUT
    with subprocess.Popen(TYPES, env=environment, stdout=pipe, stderr=merged) as types:
        tests = run(TESTS)
        show(TYPES)
        said, _ = types.communicate()
    sys.stdout.buffer.write(said)
    sys.stdout.flush()
    return tests or types.returncode


match sys.argv[1:]:
    case []:
        sys.exit(run_all())
    case ["--random", *words]:
        sys.exit(run((*RANDOM, *words)))
    case words:
        sys.exit(f"expected no arguments or --random, got {' '.join(words)}")
