"""``rengafs doctor``: what keeps rengafs from working here, and what to do about it."""

import click

from rengafs.cli import output
from rengafs.cli.asking import json_option
from rengafs.cli.diagnosing import examine
from rengafs.cli.exits import Exit, epilog, refuse
from rengafs.cli.options import debug_option


@click.command(epilog=epilog())
@json_option
@debug_option
def command(as_json: bool) -> None:
    """Look at FUSE, directories, mounts, configuration, service, token and clock.

    Ends with 1 if anything is bad; each bad thing tells its remedy. Nothing is changed,
    and no service is started; something is mounted for a moment, as a trial.

    \b
      rengafs doctor
    """
    findings = []
    for one in examine():
        findings.append(one)
        if not as_json:  # at once: a look may take a while
            output.line(f"{one.state:<5} {one.what:<17} {one.text}")
    if as_json:
        output.as_json(findings)
    bad = [one.what for one in findings if one.state == "bad"]
    if bad:
        raise refuse(Exit.FAILED, f"{len(bad)} of {len(findings)} are bad: {', '.join(bad)}")
