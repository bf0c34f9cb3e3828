"""The command: as `inceptive`, and as a module for launchers that start those, such as torchrun."""

import signal


def main() -> None:
    """Run the command. Ctrl-C while it is imported ends it in silence: nothing has begun."""
    interrupts = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if interrupts:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from inceptive.cli import main as command

    if interrupts:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    command()


if __name__ == "__main__":
    main()
