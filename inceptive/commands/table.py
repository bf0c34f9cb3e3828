NAME = "table"
def run() -> None:
    pass
