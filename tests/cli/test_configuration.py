"""Named services, options of the configuration, and which of several settings counts."""

import json

from rengafs.cli.exits import Exit


def configure(home, text):
    file = home.root / ".config" / "rengafs" / "config.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def shown(home, *arguments, **environment):
    done = home.run("config", "show", "--json", *arguments, **environment)
    assert done.returncode == 0, done.stderr
    return {one["name"]: (one["value"], one["origin"]) for one in json.loads(done.stdout)}


def test_without_any_configuration_the_embedded_service_is_meant(home):
    settings = shown(home)

    assert settings["endpoint"][0] == "embedded"
    assert settings["configuration"][0].endswith("/rengafs/config.toml (not there)")


def test_an_option_goes_before_the_environment_and_that_before_the_configuration(home):
    file = configure(home, '[log]\nlimit = 3\n[bucket.list]\ndata = "/srv"\n')

    assert shown(home)["log.limit"] == ("3", str(file))
    assert shown(home)["bucket.list.data"] == ("/srv", str(file))
    assert shown(home, RENGAFS_LOG_LIMIT="2")["log.limit"] == ("2", "RENGAFS_LOG_LIMIT")
    said = home.run("log", "--limit", "-1", "x", RENGAFS_LOG_LIMIT="-2")
    assert "-1 is not in the range" in said.stderr


def test_variables_that_have_names_of_their_own_are_shown_where_they_count(home):
    settings = shown(home, RENGAFS_BACKENDS="/b.toml", RENGAFS_DROPPINGS="*.bak")

    assert settings["serve.backends"] == ("/b.toml", "RENGAFS_BACKENDS")
    assert settings["serve.droppings"] == ("*.bak", "RENGAFS_DROPPINGS")
    both = shown(home, RENGAFS_BACKENDS="/b.toml", RENGAFS_SERVE_BACKENDS="/c.toml")
    assert both["serve.backends"] == ("/b.toml", "RENGAFS_BACKENDS")
    said = home.run("serve", RENGAFS_BACKENDS="/b.toml", RENGAFS_SERVE_BACKENDS="/c.toml")
    assert "/b.toml" in said.stderr  # which counts indeed


def test_defaults_are_shown_if_asked_for(home):
    assert "mount.cache-size" not in shown(home)
    settings = shown(home, "--defaults", RENGAFS_LOG_LIMIT="2")

    assert settings["mount.cache-size"] == ("10G", "default")
    assert settings["mount.cache-dir"] == ("$XDG_CACHE_HOME/rengafs", "default")
    assert settings["log.limit"] == ("2", "RENGAFS_LOG_LIMIT")
    assert settings["mount.write-back"] == ("False", "default")


def test_the_configurations_options_reach_the_command(home, refused):
    configure(home, "[log]\nlimit = -7\n")

    done = home.run("log", "x")

    assert "-7 is not in the range" in refused(done)


def test_a_misspelled_option_of_the_configuration_is_named(home, refused):
    file = configure(home, "[mount]\ncachesize = 3\n")

    done = home.run("mount", home.mountpoint)

    assert f"{file}: [mount] has no option 'cachesize'; see: rengafs mount --help" in refused(done)
    assert done.returncode == Exit.USAGE


def test_a_configuration_that_is_not_toml_is_named_with_its_line(home, refused):
    file = configure(home, "endpoint = \n")

    text = refused(home.run("config", "show"))

    assert text.startswith(f"rengafs: the configuration {file} is not TOML")
    assert "line 1" in text


def test_an_endpoint_with_a_wrong_key_is_named(home, refused):
    configure(home, "[endpoints.x]\nurl = 'https://x.example'\ntoken = 's3cret'\n")

    text = refused(home.run("config", "show"))

    assert "unknown field" in text
    assert "s3cret" not in text


def test_a_name_that_is_not_configured(home, refused):
    configure(home, "[endpoints.here]\nurl = 'http://127.0.0.1:1'\n")

    text = refused(home.run("mount", "--endpoint", "there", home.mountpoint))

    assert "no endpoint 'there' is configured (there is: here)" in text


def test_a_configured_service_is_used_by_its_name_with_its_token_file(home, served):
    address, token = served
    file = configure(home, f"[endpoints.here]\nurl = '{address}'\ntoken-file = 'token'\n")
    (file.parent / "token").write_text(token)

    done = home.run("log", "--endpoint", "here", "nothing")
    settings = shown(home)

    assert done.stderr.startswith("rengafs: there is no 'nothing'")
    assert done.returncode == Exit.FAILED
    assert settings["endpoints.here token"][0] == "********"
    assert token not in str(settings)


def test_the_environments_token_is_not_given_to_another_service(home, served, refused):
    address, _token = served

    done = home.run(
        "log",
        "--endpoint",
        address,
        "nothing",
        RENGA_ENDPOINT="https://elsewhere.example",
        RENGA_ACCESS_TOKEN="of-elsewhere",
    )

    assert "the service wants a token" in refused(done)
    assert done.returncode == Exit.REFUSED
