"""One module a command: parsed arguments in, exit code out."""
