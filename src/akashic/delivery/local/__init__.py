"""The local target: releases as supervised processes of this machine or containers of its engine, behind a
reverse proxy.

May import what `akashic.delivery` may. A supervisor outlives the commands; all it knows is on the disk.
"""
