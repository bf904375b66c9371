"""Where a weight or metrics file comes from: a folder, the Hub, or what travels with the code.

`hub` is what the rest of the package asks; `client` speaks with the Hub, `cache` keeps what it sent, with
every content checked, `problems` says in words what went wrong, and `deadline` gives up what takes too
long.
"""
