"""Why a line or a file is refused. No message holds a value from the file: it may be personal."""

from pydantic import ValidationError

from crm_events.reasons import reason


class LineRefusedError(Exception):
    """The line cannot be published; the others can."""


class FileRefusedError(Exception):
    """The file as a whole is not what it was said to be."""


def contract_reasons(refusal: ValidationError) -> str:
    """Where and why the contract refuses a record, without the values."""
    return "; ".join(
        f"{'.'.join(map(str, error['loc'])) or 'record'}: {reason(error)}"
        for error in refusal.errors(include_url=False, include_input=False)
    )
