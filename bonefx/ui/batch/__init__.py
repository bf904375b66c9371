"""Batches: the tab, the endpoint, and the run behind both."""
