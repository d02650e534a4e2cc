"""What a single attempt to tell somebody may end with."""

from __future__ import annotations

from akashic.errors import AkashicError


class SendFailed(AkashicError):
    """An attempt failed. `retry` says whether another one may help; `after_s` is how long the receiver asked
    us to wait. The message holds no address that is a secret."""

    def __init__(self, message: str, *, retry: bool, after_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry = retry
        self.after_s = after_s
