"""A saved folder on its way to the Hub."""

import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Self, Unpack

import torch

from var.errors import UserError
from var.files import write_text
from var.foreign.regular import read_text
from var.hub.cards import ModelCard, card_text, licence_id, moved
from var.hub.layout import CARD, is_weights_file
from var.hub.packaged import OURS
from var.hub.placement import DType, chosen_place
from var.hub.remote import Source, create_repository, upload
from var.keywords import known_keywords
from var.paths import expanded
from var.terms import UNKNOWN, Terms


class Publishable:
    """What can be saved as a folder gets a page there if asked for, and its way to the Hub."""

    _noun: ClassVar[str]  # what commits call it
    _page: str | None = None  # that of the folder from which it was loaded, with its licence
    package: ClassVar[str] = OURS  # whose models an id of `packaged.OWNER` means
    _save: ClassVar[Callable[..., None]]  # `save_model` or `save_pipeline`
    _load: ClassVar[Callable[..., Any]]  # `load_model` or `load_pipeline`
    _asked: str = "class_labels=[0, 1]"  # what a page shows that a call of it asks for

    def __init_subclass__(cls, **keywords: Any) -> None:
        """Let the constructor of every class answer wrong arguments as the methods here do."""
        super().__init_subclass__(**keywords)
        if "__init__" in cls.__dict__:
            cls.__init__ = known_keywords(cls.__init__)

    @classmethod
    @known_keywords
    def from_pretrained(
        cls,
        path_or_id: Path | str,
        *,
        dtype: DType = None,
        torch_dtype: DType = None,
        device: torch.device | str | None = None,
        device_map: str | None = None,
        **source: Unpack[Source],
    ) -> Self:
        """Load from a folder or the Hub, strictly; see `load_model`. `device_map` is "auto", "cuda" or "cpu"."""
        device = chosen_place(device, device_map)
        return cls._load(cls, path_or_id, dtype=dtype, torch_dtype=torch_dtype, device=device, **source)

    @known_keywords
    def save_pretrained(
        self, directory: Path | str, *, max_shard_size: int | str = "5GB", card: ModelCard | None = None
    ) -> None:
        """Write all into `directory`, and a README.md if a `card` is given; see `save_model` and `save_pipeline`.

        Without one, what was loaded from a folder with a README.md brings it along, unless there is another.
        """
        type(self)._save(self, directory, max_shard_size=max_shard_size)
        page = expanded(directory) / CARD
        if card is not None or (self._page is not None and not page.exists()):
            write_text(page, self._page_at(page.parent.resolve().name, card))

    @known_keywords
    def push_to_hub(
        self,
        repo_id: str,
        *,
        token: str | bool | None = None,
        private: bool = False,
        commit_message: str | None = None,
        max_shard_size: int | str = "5GB",
        card: ModelCard | None = None,
        progress: bool = True,
    ) -> str:
        """Publish on the Hub, in one commit; returns its address.

        Without a `card` the page that is there stays, and a new repository gets that of the folder from which all was
        loaded, or else a short one. Weights of an earlier commit that are not in this one are deleted with it.
        `progress` shows the bars of the upload.
        """
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            type(self)._save(self, folder, max_shard_size=max_shard_size)
            full_id = create_repository(repo_id, token=token, private=private, progress=progress)
            write_text(folder / CARD, self._page_at(full_id, card))
            return upload(
                folder,
                full_id,
                token=token,
                commit_message=commit_message or f"Upload {self._noun}",
                kept=() if card is not None else (CARD,),
                replaced=is_weights_file,
                progress=progress,
            )

    def _page_at(self, place: str, card: ModelCard | None) -> str:
        """The page for a `place`: of the `card`, else the one with which it was loaded, else a short one."""
        if card is None and self._page is not None:
            return moved(self._page, place)
        return card_text(card or self._short_card(), type(self), place, self._asked)

    def _short_card(self) -> ModelCard:
        """The licence is that of the images of the training, where it is known."""
        terms: Terms = getattr(self, "terms", UNKNOWN)
        if not terms.licence:
            return ModelCard()
        return ModelCard(license=licence_id(terms.licence), description=f"The images of its training: {terms}")


def with_page(loaded: Any, folder: Path) -> Any:
    """What was `loaded` from a folder, with the page that lies there."""
    if isinstance(loaded, Publishable):
        with suppress(UserError):  # there is none, or what is there is none
            loaded._page = read_text(folder / CARD)
    return loaded
