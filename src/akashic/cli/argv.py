"""A command line cut at its command's name. Imported by every command: no imports of its own."""


def split(argv: "list[str]") -> "tuple[list[str], str, list[str]]":
    """Global options, the command's name ("" when none), and the rest."""
    index = 0
    while index < len(argv):
        word = argv[index]
        if word in ("-C", "--directory"):
            index += 2
        elif word.startswith("-"):
            index += 1
        else:
            return argv[:index], word, argv[index + 1 :]
    return argv, "", []
