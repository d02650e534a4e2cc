"""The tests, in folders as the packages they are about; what several share is imported by its whole name."""
