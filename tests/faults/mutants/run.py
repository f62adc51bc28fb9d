"""Apply each mutant to a copy of the tree and see its row fail there: `python -m tests.faults.mutants.run [words]`.

Words choose the mutants whose name or row holds one of them. The rows are run once on the intact copy first: a row
that fails there says nothing about a mutant. All share one infrastructure.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from compileall import compile_dir
from pathlib import Path
from py_compile import PycInvalidationMode

from tests.faults.mutants.catalogue import MUTANTS, Mutant

from crm_local.stack import Stack

ROOT = Path(__file__).parents[3]
COPIED = ("libs", "services", "tests", "pyproject.toml")
TABLE = ROOT / "build" / "mutants.md"
FAILED = 1
"""pytest's exit code when tests were run and some failed; no other one proves anything."""
ROW_SECONDS = 60


def main(words: Sequence[str]) -> int:
    """0 if the rows hold on the intact copy and each mutant is caught."""
    chosen = [m for m in MUTANTS if not words or any(word in f"{m.row} {m.name}" for word in words)]
    with tempfile.TemporaryDirectory(prefix="crm-mutants-") as folder, Stack.temporary(only=["infrastructure"]) as lent:
        tree = _Tree(Path(folder), lent)
        rows = sorted({mutant.caught_by for mutant in chosen})
        intact = tree.run(*rows, timeout=ROW_SECONDS * 10)
        if intact.returncode:
            sys.stdout.write(f"The rows do not hold on the intact copy:\n{intact.stdout}\n")
            return 1
        lines = [_line("row", "mutant", "breaks", "caught by", "seconds", "result"), _line(*["---"] * 6)]
        results = []
        for mutant in chosen:
            began = time.monotonic()
            caught = tree.catches(mutant)
            results.append(caught)
            seconds = f"{time.monotonic() - began:.0f}"
            result = "caught" if caught else "SURVIVED"
            lines.append(_line(mutant.row, mutant.name, mutant.breaks, mutant.caught_by, seconds, result))
            sys.stdout.write(lines[-1] + "\n")
            sys.stdout.flush()
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text("\n".join(lines) + "\n")
    sys.stdout.write(f"{sum(results)} of {len(chosen)} mutants are caught; the table is in {TABLE}\n")
    return 0 if all(results) else 1


class _Tree:
    """A copy of the tree, mutated and mended again."""

    def __init__(self, folder: Path, lent: Stack) -> None:
        self._folder = folder
        self._lent = lent
        ignored = shutil.ignore_patterns("__pycache__")
        for name in COPIED:
            source, copy = ROOT / name, folder / name
            shutil.copytree(source, copy, ignore=ignored) if source.is_dir() else shutil.copy2(source, copy)
        # Checked by content: a file's time would not tell a mutant from what stood there in the same second.
        compile_dir(folder, quiet=1, invalidation_mode=PycInvalidationMode.CHECKED_HASH)

    def catches(self, mutant: Mutant) -> bool:
        file = self._folder / mutant.file
        intact = file.read_text()
        file.write_text(intact.replace(mutant.search, mutant.replacement))
        try:
            done = self.run(mutant.caught_by, timeout=ROW_SECONDS * 2)
        finally:
            file.write_text(intact)
        if done.returncode not in (0, FAILED):
            raise SystemExit(f"{mutant.caught_by} could not be run on {mutant.name!r}:\n{done.stdout}")
        return done.returncode == FAILED

    def run(self, *rows: str, timeout: float) -> subprocess.CompletedProcess[str]:
        """Pytest in the copy, which imports the copy's code and shares the infrastructure."""
        sources = sorted(
            str(path) for pattern in ("libs/*/src", "services/*/src") for path in self._folder.glob(pattern)
        )
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sources),
            "PYTHONDONTWRITEBYTECODE": "1",
            "CRM_TEST_INFRASTRUCTURE": str(self._lent.folder.root),
        }
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-x",
            "-q",
            "-p",
            "no:cacheprovider",
            f"--timeout={ROW_SECONDS}",
            *rows,
        ]
        return subprocess.run(
            command,
            cwd=self._folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )


def _line(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
