"""From a checkpoint to graphs that agree with it: in the background of an app, or by `convert`.

Only `background` is imported by what answers; all else needs torch.
"""
