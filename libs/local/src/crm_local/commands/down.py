"""`crm down`: stop the stack."""

from rich.console import Console

from crm_local.background import stop_supervisor
from crm_local.settings import LocalSettings
from crm_local.state import read_record
from crm_local.supervisor import stop_leftovers


def down() -> None:
    """Stop the stack, services first, and wait until no process of it is left."""
    console = Console()
    folder = LocalSettings().folder
    record = read_record(folder)
    if record is not None and record.is_supervised:
        with console.status("stopping"):
            stop_supervisor(record.supervisor)
        console.print("The stack is stopped.")
        return
    leftovers = stop_leftovers(folder)
    console.print(f"Stopped {', '.join(leftovers)}." if leftovers else f"No stack is running in {folder.root}.")
