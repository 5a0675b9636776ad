"""Bytes of saved versions: from this disk where they are, else over the wire, ahead of readers."""
