NAME = "nets"
def run() -> None:
    pass
