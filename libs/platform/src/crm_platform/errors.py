"""The refusals of the platform. Each becomes one problem+json answer (`crm_platform.http.problems`)."""


class Refusal(Exception):  # noqa: N818 - a refusal is an answer, not a failure
    """A command or query that is answered with no. `status` is the HTTP status, `code` a stable name for programs.

    The message says what was wrong and what to do; it never repeats personal data.
    """

    status = 422
    code = "refused"
    title = "The request was refused"


class NotFound(Refusal):
    status, code, title = 404, "not-found", "There is no such thing"


class NotAllowed(Refusal):
    """A rule of the business forbids it in the present state."""

    status, code, title = 409, "not-allowed", "A rule of the business forbids it"


class NotYetHappened(Refusal):
    """A fact cannot lie in the future."""

    status, code, title = 422, "not-yet-happened", "It lies in the future"


class AlreadyTaken(Refusal):
    """What must be unique is in use."""

    status, code, title = 409, "already-taken", "It is already taken"


class VersionMismatch(Refusal):
    status, code, title = 412, "version-mismatch", "It has changed since it was read"


class VersionRequired(Refusal):
    status, code, title = 428, "version-required", "Say which version is meant"


class KeyReused(Refusal):
    """One idempotency key for two different commands."""

    status, code, title = 422, "idempotency-key-reused", "The idempotency key belongs to another request"


class TooLarge(Refusal):
    status, code, title = 413, "too-large", "It is too large"


class Malformed(Refusal):
    status, code, title = 400, "malformed", "The request cannot be read"


class Unauthenticated(Refusal):
    status, code, title = 401, "unauthenticated", "Who is asking is not known"


class Forbidden(Refusal):
    status, code, title = 403, "forbidden", "The token does not give this right"


class Unavailable(Refusal):
    """The platform cannot answer now; asking again after `retry_after` seconds may help."""

    status, code, title = 503, "unavailable", "It cannot be answered now"
    retry_after = 1
