"""How long something takes, shown on a terminal and nowhere else."""

from rich.console import Console
from rich.progress import Progress


def progress_bar() -> Progress:
    """A bar on the error output that is gone when the work is done; nothing where that is no terminal."""
    console = Console(stderr=True)
    return Progress(console=console, transient=True, disable=not console.is_terminal)
