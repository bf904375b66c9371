"""The page and its API, with Gradio.

Gradio reads where its folder for files is while it is imported, and makes another one inside of it. Where the
folder for temporary files is shared, that can be somebody else's: so it is given this process's own first.
"""

from bonefx.ui import storage

storage.storage()
