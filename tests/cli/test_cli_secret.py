"""`akashic secret` from the command line: people by name, names in any case."""

from __future__ import annotations

from tests.cli.cli_process import Cli, steps


def test_a_recipient_may_have_a_name(cli: Cli) -> None:
    cli.workflow(steps("true"))
    cli.commit()
    other = "age1" + "ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
    result = cli("secret", "init", "--recipient", f"maria={other}")
    assert result.returncode == 0, result.stderr
    listed = cli("secret", "recipients").stdout
    assert "maria" in listed and other in listed and "maria=" not in listed


def test_a_secret_is_found_in_any_case(cli: Cli) -> None:
    cli.workflow(steps("[ \"${{ secrets.Api_Key }}${{ secrets['API_KEY'] }}\" = twotwo ] && echo found both"))
    cli.commit()
    assert cli("secret", "init").returncode == 0
    assert cli("secret", "set", "api_KEY", given="two").returncode == 0
    assert cli("secret", "set", "API_key", given="two").returncode == 0
    assert cli("secret", "list").stdout.count("API_KEY") == 1
    result = cli("run")
    assert "found both" in result.stdout, result.stdout + result.stderr
