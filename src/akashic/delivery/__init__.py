"""Environments, releases, deployments, gates, verification and the targets that serve a release.

May import: the concerns (`images`, `secrets`, `notify`), of `akashic.runner` the masking,
`akashic.executors`, `akashic.containers`, `akashic.driver`, `akashic.engine`, `akashic.journal` and below.
Never knows workflow syntax.
"""

CONFIG_NAME = "akashic.yaml"
"""The file at the root of a repository that describes its environments, its image and its limits."""
