"""Akashic takes a repository from push to production: one engine from the laptop to the cluster."""

__version__ = "0.1.0"
