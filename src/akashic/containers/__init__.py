"""A container engine, asked through its HTTP API: Docker's, or Podman's compatible one.

May import: `akashic.errors`, `akashic.cancellation`. Never runs the engine's command line, never builds a
shell string, and knows nothing of jobs.
"""
