NAME = "evaluate"
def run() -> None:
    pass
