"""Every error the engine raises, in one tree.

An error is a plain fact: it carries its values as arguments, so that it can be pickled and sent
between processes, and knows nothing of HTTP or exit codes. The edge maps the tree with one table.
"""


class ClaimwrightError(Exception):
    """The root of every error this package raises on purpose."""


class InvalidInputError(ClaimwrightError):
    """Something given from outside is not valid; nothing was stored."""


class InvalidTermsError(InvalidInputError):
    """Product terms that may not exist, with the key that is wrong.

    Args:
        key: dotted path of the offending key, as in ``payout.tiers[1].threshold``.
        reason: what is wrong with it, as a sentence.
    """

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(key, reason)
        self.key = key
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.key}: {self.reason}"


class InvalidMoneyError(InvalidInputError):
    """An amount that its currency cannot express, or a currency that is not known."""


class InvalidLayerError(InvalidInputError):
    """A layer whose attachment is negative or not below its exhaustion."""

    def __init__(self, attachment_minor: int, exhaustion_minor: int) -> None:
        super().__init__(attachment_minor, exhaustion_minor)
        self.attachment_minor = attachment_minor
        self.exhaustion_minor = exhaustion_minor

    def __str__(self) -> str:
        return (
            f"a layer runs from an attachment of at least 0 up to a larger exhaustion, "
            f"not from {self.attachment_minor} to {self.exhaustion_minor}"
        )


class InvalidTransitionError(ClaimwrightError):
    """A change of status that the life cycle does not have."""

    def __init__(self, before: str, after: str) -> None:
        super().__init__(before, after)
        self.before = before
        self.after = after

    def __str__(self) -> str:
        return f"a claim that is {self.before} cannot become {self.after}"


class NotFoundError(ClaimwrightError):
    """A policy, product, claim or event that does not exist."""

    def __init__(self, noun: str, key: object) -> None:
        super().__init__(noun, key)
        self.noun = noun
        self.key = key

    def __str__(self) -> str:
        return f"there is no {self.noun} {self.key}"


class UnusableRecordError(ClaimwrightError):
    """A stored policy or product that the rules cannot take; nothing else fails with it.

    Args:
        noun: ``policy`` or ``product``.
        name: the policy's number, or the product's code and version.
        fault: what is wrong with it, as a sentence.
    """

    def __init__(self, noun: str, name: str, fault: str) -> None:
        super().__init__(noun, name, fault)
        self.noun = noun
        self.name = name
        self.fault = fault

    def __str__(self) -> str:
        return f"{self.noun} {self.name} cannot be used: {self.fault}"


class CalculationError(ClaimwrightError):
    """A calculation that stopped; its transaction was rolled back and it can be done again."""


class LockNotAcquiredError(CalculationError):
    """Another worker holds the lease; the work is still to do, and nothing was lost.

    Args:
        key: the lease's Redis key.
        waited_seconds: how long this worker waited for it.
    """

    def __init__(self, key: str, waited_seconds: float) -> None:
        super().__init__(key, waited_seconds)
        self.key = key
        self.waited_seconds = waited_seconds

    def __str__(self) -> str:
        return f"{self.key} is held by another worker (waited {self.waited_seconds:g} s)"


class LeaseUnavailableError(CalculationError):
    """No lease: Redis does not answer and one is required, or it refuses this client."""


class SessionInUseError(CalculationError):
    """The session is already in a transaction; the engine begins and commits its own."""


class InvariantViolationError(ClaimwrightError):
    """Claims that break a promise of the engine, named by a ``verify_…`` function."""


class DatabaseUnavailableError(ClaimwrightError):
    """PostgreSQL cannot be reached, or its schema is missing or of another version."""


class BrokerUnavailableError(ClaimwrightError):
    """The message broker cannot be reached; what was asked for stays in the database."""


class EmbeddedServerError(ClaimwrightError):
    """An embedded PostgreSQL or Valkey did not start, or its wheel is not installed."""
