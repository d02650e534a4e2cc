"""Against a deployment that runs already: BASE_URL, and E2E_EMAIL and E2E_PASSWORD where it is not seeded."""

from __future__ import annotations

import os

import pytest

from conftest import EDITOR, PASSWORD, Client


@pytest.fixture(scope="session")
def base_url() -> str:
    url = os.environ.get("BASE_URL", "").rstrip("/")
    if not url:
        pytest.skip("BASE_URL is not set; scripts/with_service.py starts a service and sets it")
    return url


@pytest.fixture
def stranger(base_url: str) -> Client:
    return Client(base_url)


@pytest.fixture
def credentials() -> tuple[str, str]:
    return os.environ.get("E2E_EMAIL", EDITOR), os.environ.get("E2E_PASSWORD", PASSWORD)


@pytest.fixture
def member(base_url: str, credentials: tuple[str, str]) -> Client:
    client = Client(base_url)
    answer = client.sign_in(*credentials)
    assert answer.status == 201, answer.text
    return client
