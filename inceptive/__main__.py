"""`python -m inceptive`: the command, for who starts modules and not scripts, as torchrun does."""

from inceptive.cli import main

if __name__ == "__main__":
    main()
