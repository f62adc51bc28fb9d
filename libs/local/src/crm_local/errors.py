"""What the local stack refuses, and why. Each message says what was wrong and what to do."""


class LocalStackError(Exception):
    """The local stack cannot do what was asked; the message is meant for the person who asked."""


class NotReadyError(Exception):
    """A part does not answer as it should yet; the message says what it answered."""
