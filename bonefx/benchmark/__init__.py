"""`python -m bonefx benchmark`: how fast the models are here, beside the reference.

The reference is the network of this project in torch, float32, and Ultralytics' own `predict`; ours is what
the app uses. Each has a process of its own (`worker`), and they take turns (`measure`), so that a machine
that grows slower or faster meanwhile does so for both: their ratio holds where the times alone would not.
"""
