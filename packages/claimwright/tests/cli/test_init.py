"""`claimwright init`, and what every command says of the embedded servers before anything else."""

from support.commands import Commands


def test_on_servers_of_your_own_a_second_call_changes_nothing(command: Commands) -> None:
    first = command.json("init")
    assert first == command.json("init") == {"revision": first["revision"], "folder": None}
    assert command("init").err == ""


def test_the_folder_of_embedded_servers_is_said_first_and_not_among_the_results(
    embedded: Commands,
) -> None:
    made = embedded("init", "--json")
    folder = made.document["folder"]
    assert made.err == f"Embedded servers; data in {folder}\n"
    for arguments in (("doctor",), ("products", "list")):
        assert embedded(*arguments, "--json").err == made.err
