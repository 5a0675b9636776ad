"""``README.txt`` of a bucket's ``.versions``, as a file that can be opened."""

from rengafs.fs.names.guidetext import TEXT
from rengafs.fs.reads.readahead import Readahead
from rengafs.fs.volume.contents import Content, Contents


class GuideContent(Content):
    """The text. It is no version of anything, so nothing is asked of the service."""

    async def read(self, offset: int, size: int, pattern: Readahead) -> bytes:
        """Return *size* bytes, or fewer at the end."""
        return TEXT[offset : offset + size]


def content(contents: Contents, bucket: int) -> Content:
    """Return the content of the guide in *bucket*."""
    return GuideContent(contents, bucket, None, len(TEXT))
