"""How long something takes: a bar on a terminal, and elsewhere a line now and then, for whoever reads it in a log."""

from time import monotonic
from typing import Any

from rich.console import Console
from rich.progress import Progress, Task, TaskID

LINE_SECONDS = 30.0


def progress_bar() -> Progress:
    """A bar on the error output that is gone when the work is done; lines where that is no terminal."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    return Progress(console=console, transient=True) if console.is_terminal else ProgressLines(console)


class ProgressLines(Progress):
    """Writes how far a task is every 30 s, and nothing of one that is done before."""

    def __init__(self, console: Console) -> None:
        super().__init__(console=console, disable=True)
        self._told_at = monotonic()

    def update(self, task_id: TaskID, *arguments: Any, **fields: Any) -> None:
        super().update(task_id, *arguments, **fields)
        self._tell(task_id)

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        super().advance(task_id, advance)
        self._tell(task_id)

    def _tell(self, task_id: TaskID) -> None:
        now = monotonic()
        if now - self._told_at >= LINE_SECONDS:
            self._told_at = now
            self.console.print(f"  {_line(self._tasks[task_id])}", markup=False)


def _line(task: Task) -> str:
    if task.total is None:
        return f"{task.description}: {task.completed:,.0f} so far"
    left = f", {task.time_remaining / 60:.0f} min left" if task.time_remaining else ""
    return f"{task.description}: {task.completed:,.0f} of {task.total:,.0f}{left}"
