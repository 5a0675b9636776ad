"""Files that are not in the catalog, opened: the guide in ``.versions``, markers."""

from rengafs.fs.reads.readahead import Readahead
from rengafs.fs.volume.contents import Content, Contents


class TextContent(Content):
    """A text. It is no version of anything, so nothing is asked of the service."""

    def __init__(self, store: Contents, directory: int, text: bytes) -> None:
        super().__init__(store, directory, None, len(text))
        self._text = text

    async def read(self, offset: int, size: int, pattern: Readahead) -> bytes:
        """Return *size* bytes, or fewer at the end."""
        return self._text[offset : offset + size]
