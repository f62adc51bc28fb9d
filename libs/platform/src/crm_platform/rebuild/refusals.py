"""Why a rebuild does not go on."""


class RebuildRefusedError(Exception):
    """It cannot be done as things stand. The message says what to do."""
