"""Callbacks for searches and for any Lightning project."""
