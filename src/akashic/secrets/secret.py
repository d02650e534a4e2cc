"""A value that does not show itself."""

from __future__ import annotations

from typing import NoReturn


class Secret:
    """A secret value. `str`, `repr`, formatting and logging give `***`; only `reveal` gives the value.

    It cannot be pickled or copied into JSON by accident, and is compared without revealing where it differs.
    """

    __slots__ = ("__value",)

    def __init__(self, value: str) -> None:
        self.__value = value

    def reveal(self) -> str:
        """The value itself. Each call is a place to review."""
        return self.__value

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __format__(self, _spec: str) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        import hmac  # compared rarely; reading secrets must not pay for it

        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self.__value.encode(), other.__value.encode())

    def __hash__(self) -> int:
        return hash((Secret, self.__value))

    def __bool__(self) -> bool:
        return bool(self.__value)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not serialised; call reveal() where the value itself is meant")

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        self.__reduce__()
