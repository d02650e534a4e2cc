"""Jobs in containers of an engine, their steps started by an agent that is a container's first process.

May import what `akashic.executors` may, and of `host` what jobs of both share: trees, owners, folders. Never
runs the engine's command line. See docs/adr/0009-an-agent-is-a-container-s-first-process.md.
"""
