"""All checks, the same by hand and in CI: `python -m tests`; stops at the first that fails."""

import subprocess
import sys

CHECKS = (
    ("ruff", "format", "--check"),
    ("ruff", "check"),
    ("mypy",),
    ("pytest",),
)

for check in CHECKS:
    print("$", *check, flush=True)
    if status := subprocess.run([sys.executable, "-m", *check], check=False).returncode:
        sys.exit(status)
