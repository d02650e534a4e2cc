"""What jobs of forks do not share with others: a less trusted run never writes what a trusted one reads."""

from __future__ import annotations

from akashic.executors.protocol import SandboxSpec

_OF_FORKS = "-of-forks"


def tools_for(spec: SandboxSpec, tool_cache: str) -> str:
    """The tool cache of a job: programs that a fork's job left there are never run by others."""
    return tool_cache if spec.trust == "trusted" else tool_cache + _OF_FORKS
