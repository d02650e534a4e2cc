"""Environments, releases, deployments, gates, verification and the targets that serve a release.

May import: the concerns (`images`, `secrets`, `notify`), `akashic.executors`, `akashic.driver`,
`akashic.engine`, `akashic.journal` and below. Never knows workflow syntax.
"""
