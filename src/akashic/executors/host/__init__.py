"""Jobs as processes of this machine, apart from it by Linux namespaces where they can be had.

May import what `akashic.executors` may. Never claims an isolation that it has not got: `isolation` says it.
"""
