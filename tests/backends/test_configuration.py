"""The file that names backends."""

import re
from pathlib import Path

import pytest

from rengafs.backends.configuration import load, resolver
from rengafs.protocol.errors import SetupError

ROOT = Path(__file__).parents[2]
S3 = '[backends.a]\nkind = "s3"\nbucket = "b"\n'
SWIFT = '[backends.a]\nkind = "swift"\ncontainer = "b"\nauth_url = "http://x/v3"\n'


@pytest.mark.parametrize("page", ["README.md", "rengafs/backends/README.md"])
def test_what_the_pages_show_is_right(page: str, tmp_path: Path) -> None:
    blocks = re.findall(r"```toml\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    (shown,) = [block for block in blocks if "[backends." in block]
    file = tmp_path / "backends.toml"
    file.write_text(shown)
    assert load(file).names == ("swift-zurich", "local", "s3-archive", "scratch")


def test_without_a_file_there_is_local_alone() -> None:
    assert load(None).names == ("local",)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[backends", "not right"),
        ('[backends.a]\nkind = "tape"\n', "tape"),
        ('[backends.a]\nkind = "s3"\n', "bucket"),
        (S3 + 'color = "red"\n', "color"),
        (S3 + 'secret_key = "hunter2"\n', "secret"),
        ('default = "b"\n' + S3, "default"),
        (SWIFT, "user and key"),
        (SWIFT + 'user = "u"\nkey = "env:K"\n', "project"),
        ('[backends."a/b"]\nkind = "s3"\nbucket = "b"\n', "name"),
    ],
)
def test_what_is_wrong_is_told(text: str, why: str, tmp_path: Path) -> None:
    file = tmp_path / "backends.toml"
    file.write_text(text)
    with pytest.raises(SetupError, match=why) as raised:
        load(file)
    assert "hunter2" not in str(raised.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="can't be read"):
        load(tmp_path / "none.toml")


def test_secrets_come_from_the_environment_or_files(tmp_path: Path) -> None:
    kept = tmp_path / "key"
    kept.write_text("from file\n")
    resolve = resolver("a", {"KEY": "from environment"})
    assert resolve("env:KEY") == "from environment"
    assert resolve(f"file:{kept}") == "from file"
    assert resolve("") == ""
    for missing in ("env:OTHER", f"file:{tmp_path / 'other'}"):
        with pytest.raises(SetupError, match="needs the"):
            resolve(missing)
