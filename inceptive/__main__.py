"""`python -m inceptive`: the command, for launchers that start modules, such as torchrun."""

from inceptive.cli import main

if __name__ == "__main__":
    main()
