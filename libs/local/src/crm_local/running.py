"""Where the stack that runs now is reached."""

from crm_local.errors import LocalStackError
from crm_local.folder import StateFolder
from crm_local.plan import Addresses
from crm_local.state import read_record


def running_addresses(folder: StateFolder) -> Addresses:
    """The addresses of the running stack in `folder`. Raises LocalStackError if none runs."""
    record = read_record(folder)
    if record is None or not record.is_supervised:
        raise LocalStackError(f"no stack is running in {folder.root}: 'crm up' starts it")
    return Addresses.of(folder)
