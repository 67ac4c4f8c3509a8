"""Commands of the command line that `cli.py` does not hold itself, by what they are about."""
