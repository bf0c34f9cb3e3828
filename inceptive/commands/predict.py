NAME = "predict"
def run() -> None:
    pass
