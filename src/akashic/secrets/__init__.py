"""Secrets in an age-encrypted file in the repository, scoped to repository or environment.

May import: `akashic.source`, `akashic.errors`. Never imports a sibling concern, and never prints a value.
"""

FILE_NAME = ".akashic.secrets.json"
"""The file at the root of a repository."""
