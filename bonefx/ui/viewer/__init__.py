"""The viewer: one image and what the models found in it, on the page and in what is taken away."""
