"""The local target: releases as supervised processes of this machine, behind a reverse proxy."""
