"""One module for each command of `python -m bonefx`: `add_arguments` offers its arguments and sets `run`."""
