"""All checks, the same by hand and in CI: `python -m tests`; stops at the first that fails."""

import subprocess
import sys
from pathlib import Path

LINT_IMPORTS = str(Path(sys.executable).with_name("lint-imports"))
CHECKS = (
    (sys.executable, "-m", "ruff", "format", "--check"),
    (sys.executable, "-m", "ruff", "check"),
    (sys.executable, "-m", "mypy"),
    (LINT_IMPORTS,),
    (sys.executable, "-m", "pytest"),
)

for check in CHECKS:
    print("$", Path(check[0]).name, *check[1:], flush=True)
    if status := subprocess.run(check, check=False).returncode:
        sys.exit(status)
