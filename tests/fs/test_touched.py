"""Whether an answer was overtaken by the feed while it was under way."""

from rengafs.fs.names.touched import Touched


def test_only_what_changed_after_the_mark_was_overtaken():
    touched = Touched()
    touched.note(300)
    mark = touched.mark()

    assert not touched.since(mark, 300)
    touched.note(301)
    assert touched.since(mark, 301)
    assert not touched.since(mark, 300)
    assert not touched.since(touched.mark(), 301)


def test_what_is_not_remembered_counts_as_overtaken():
    touched = Touched(remembered=3)
    mark = touched.mark()
    for number in range(300, 310):
        touched.note(number)

    assert touched.since(mark, 999)
    assert touched.forgotten(mark)
    assert not touched.since(touched.mark(), 999)


def test_a_lost_feed_overtakes_everything():
    touched = Touched()
    touched.note(300)
    mark = touched.mark()
    touched.note_all()

    assert touched.since(mark, 300)
    assert touched.since(mark, 301)
    assert not touched.since(touched.mark(), 300)
