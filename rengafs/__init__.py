"""rengafs: every bucket a folder, every save a version, any tool."""

__version__ = "0.1.0"
