"""The page's mode "Read it yourself": a round of cases, read alone and with the models' marks."""
