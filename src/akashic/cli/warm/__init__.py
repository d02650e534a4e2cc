"""A process that has already imported Akashic, so that a command does not have to.

Importing costs a short command three quarters of its time. The first command leaves a small server behind;
later ones hand it their command line, environment, folder and open files, and a fork of it does the work
under the same conditions. It ends by itself when it is not used, when the code changes, and on `akashic warm
stop`; `AKASHIC_WARM=off` does without. See docs/adr/0007-warm-start.md.

`client` is on the way of every command and imports nothing but built-in modules.
"""
