"""A third model: one module (`contrast`) and one entry, which `python -m tests.third_model` makes."""
