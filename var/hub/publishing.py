"""A saved folder on its way to the Hub."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from var.files import atomic_file
from var.hub.cards import ModelCard, card_text
from var.hub.layout import CARD, is_weights_file
from var.hub.remote import create_repository, upload


def write_card(card: ModelCard | None, cls: type, directory: Path | str) -> None:
    """Write the README.md of a saved model, if a card is given."""
    if card is not None:
        folder = Path(directory)
        text = card_text(card, cls, folder.resolve().name)
        with atomic_file(folder / CARD) as file:
            file.write_text(text, encoding="utf-8")


def publish(
    save: Callable[[Path], None],
    cls: type,
    repo_id: str,
    *,
    token: str | bool | None,
    private: bool,
    message: str,
    card: ModelCard | None,
) -> str:
    """Commit what `save` writes into a folder, and a card, to the Hub's `repo_id`; the address of the commit.

    A page that is there is replaced only by a given `card`. Weights of an earlier commit that are not in this one are
    deleted with it.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save(folder)
        full_id = create_repository(repo_id, token=token, private=private)
        (folder / CARD).write_text(card_text(card or ModelCard(), cls, full_id), encoding="utf-8")
        kept = () if card is not None else (CARD,)
        return upload(folder, full_id, token=token, commit_message=message, kept=kept, replaced=is_weights_file)
