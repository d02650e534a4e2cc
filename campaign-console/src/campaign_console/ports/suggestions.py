"""Suggestions for a campaign's message. Off unless OPENAI_API_KEY is set."""

from __future__ import annotations

import json
from typing import Protocol

from campaign_console.ports.http import ProviderError, post

_URL = "https://api.openai.com/v1/chat/completions"
_LENGTH_MAX = 600


class Suggestions(Protocol):
    """Writes a first draft of a message."""

    @property
    def available(self) -> bool: ...

    async def message(self, *, name: str, channel: str, audience: str) -> str:
        """A short text. Raises ProviderError."""
        ...


class NoSuggestions:
    """What is used when no key is set: nothing is offered, nothing is sent anywhere."""

    available = False

    async def message(self, *, name: str, channel: str, audience: str) -> str:
        raise ProviderError("suggestions are off")


class OpenAiSuggestions:
    """Asks OpenAI's chat API. What people typed is sent as data, never as an instruction of ours."""

    available = True

    def __init__(self, *, key: str, model: str, url: str = _URL) -> None:
        self._key = key
        self._model = model
        self._url = url

    async def message(self, *, name: str, channel: str, audience: str) -> str:
        request = {
            "model": self._model,
            "max_tokens": 200,
            "messages": [
                {
                    "role": "system",
                    "content": "Write one short, honest marketing message (two sentences at most) for the"
                    " campaign that the user describes as JSON. Answer with the message only.",
                },
                {
                    "role": "user",
                    "content": json.dumps({"name": name, "channel": channel, "audience": audience}),
                },
            ],
        }
        answer = await post(
            self._url, token=self._key, body=json.dumps(request).encode(), content_type="application/json"
        )
        try:
            return str(answer["choices"][0]["message"]["content"]).strip()[:_LENGTH_MAX]
        except (KeyError, IndexError, TypeError):
            raise ProviderError("the provider's answer holds no message") from None


def open_suggestions(key: str | None, *, model: str) -> Suggestions:
    return OpenAiSuggestions(key=key, model=model) if key else NoSuggestions()
