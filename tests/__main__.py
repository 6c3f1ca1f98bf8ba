"""All checks, the same by hand and in CI: `python -m tests`; stops at the first that fails.

`python -m tests --random` runs the property tests alone, longer and on new examples each time;
words after it are passed on to pytest.
"""

import os
import subprocess
import sys
from pathlib import Path

LINT_IMPORTS = str(Path(sys.executable).with_name("lint-imports"))
# A process for each core; a file's tests stay together, as they share what was made for them.
PYTEST = ("pytest", "-n", "auto", "--dist", "loadfile")
# Of these processes alone, by probes that go away once they were hit: 3 % more time on 687 tests,
# where coverage.py on Python 3.11 takes 69 %. pytest cannot rewrite what is at work already.
SLIPCOVER = (sys.executable, "-m", "slipcover", "--source", "lesionseg", "--skip-covered")
TESTS = (*SLIPCOVER, "-m", *PYTEST, "-W", "ignore:Module already imported")
CHECKS = (
    (sys.executable, "-m", "ruff", "format", "--check"),
    (sys.executable, "-m", "ruff", "check"),
    (sys.executable, "-m", "mypy"),
    (LINT_IMPORTS,),
    TESTS,
)
RANDOM = (sys.executable, "-m", *PYTEST, "-m", "hypothesis", "--hypothesis-profile=random")

checks: tuple[tuple[str, ...], ...]
match sys.argv[1:]:
    case []:
        checks = CHECKS
    case ["--random", *words]:
        checks = ((*RANDOM, *words),)
    case words:
        sys.exit(f"expected no arguments or --random, got {' '.join(words)}")

# Keep bytecode whatever the machine says: else each process rewrites the asserts of all tests anew.
environment = {
    name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
}
for check in checks:
    print("$", Path(check[0]).name, *check[1:], flush=True)
    if status := subprocess.run(check, env=environment, check=False).returncode:
        sys.exit(status)
