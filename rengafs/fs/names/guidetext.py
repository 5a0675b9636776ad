"""The text of ``README.txt`` in each bucket's ``.versions``. A test runs its examples."""

TEXT = b"""\
The history of this bucket
==========================

Every save of every file is found here with ordinary tools, for as long as the bucket keeps
it: for ever, unless somebody has said otherwise. Nothing below .versions can be changed.
Each directory has a .versions of its own; it is not listed, so say its name. The examples
are typed in the bucket's directory; report.csv stands for any file of yours, data for any
directory.

The saves of one file, eldest first, also when it has been deleted:

    $ ls .versions/report.csv

Take one back by copying it, or let the service do it, without moving a byte:

    $ cp .versions/report.csv/$(ls .versions/report.csv | head -n 1) report.csv
    $ rengafs undelete report.csv
    $ rengafs undelete data

A directory, with everything below it, as it was at a moment. The moment is written as a
day, a minute, or as exactly as you like; without a zone, your local time is meant. A day
means its end:

    $ ls .versions/@$(date +%Y-%m-%d)
    $ diff -r .versions/@$(date +%Y-%m-%d) .
    $ cp -r .versions/@$(date +%Y-%m-%dT%H:%M)/data data-as-it-was
    $ rengafs restore data@$(date +%Y-%m-%dT%H:%M)

Who did what, and when:

    $ rengafs log report.csv
    $ rengafs diff report.csv@$(date +%Y-%m-%d)

Give a moment a name, to come back to it. It is then listed here:

    $ rengafs label . paper-v1
    $ ls .versions/@paper-v1
    $ rengafs label --list .

How much of the past this bucket keeps, and how many bytes that takes. What is labelled is
kept in any case:

    $ rengafs bucket retention .
    $ rengafs bucket retention . "all for 30 days, daily for a year, monthly"
    $ rengafs prune --dry-run .
    $ rengafs usage .
"""
