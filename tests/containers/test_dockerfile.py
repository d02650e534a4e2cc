"""What is read from a Dockerfile before it is built."""

from __future__ import annotations

from akashic.containers.dockerfile import base_images


def test_base_images_are_those_that_are_not_stages() -> None:
    text = """ARG VERSION=3.11
FROM --platform=$BUILDPLATFORM python:${VERSION}-slim AS base
FROM base AS build
FROM scratch
FROM ${OTHER:-alpine:3} AS last
"""
    assert base_images(text, {}) == ("python:3.11-slim", "alpine:3")
    assert base_images(text, {"VERSION": "3.13"})[0] == "python:3.13-slim"


def test_images_that_are_copied_from_are_among_them() -> None:
    text = """FROM alpine:3 AS build
FROM alpine:3
COPY --from=build /a /a
COPY --chown=1:1 --from=busybox:1 /bin/busybox /bin/
COPY --from=0 /b /b
COPY from /c
"""
    assert base_images(text, {}) == ("alpine:3", "busybox:1")
