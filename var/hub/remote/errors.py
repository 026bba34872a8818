"""What the Hub, or the way to it, answers, in one line for users."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from json import JSONDecodeError

from var.errors import UserError, first_line
from var.progress import bars


@contextmanager
def one_line_errors(what: str, remedy: str = "correct the id", *, progress: bool = True) -> Iterator[None]:
    """Turn errors of the Hub's client into a `UserError` beginning with `what` failed, and keep its warnings back.

    `remedy` is what to do if the Hub has no such model; without `progress` its bars are kept back too.
    """
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    with warnings.catch_warnings(), bars(progress):
        warnings.simplefilter("ignore")
        try:
            # Its warnings are retries, unset tokens and the like: what matters comes as an error.
            logger.setLevel(logging.ERROR)
            yield
        except UserError:
            raise
        except hub_errors() as error:
            raise explain(what, error, remedy) from error
        finally:
            logger.setLevel(level)


def hub_errors() -> tuple[type[Exception], ...]:
    """What the Hub's client raises."""
    from huggingface_hub import errors
    from huggingface_hub.utils import httpx  # the Hub's own choice among the forks of httpx

    confused = (ValueError, RuntimeError, AssertionError, KeyError, TypeError)  # by answers that are not the Hub's
    return (OSError, *confused, errors.EntryNotFoundError, httpx.HTTPError)


def is_out_of_reach(error: Exception) -> bool:
    """Whether the Hub was not reached, or is not well: the cache may help."""
    from huggingface_hub import errors
    from huggingface_hub.utils import httpx

    status = getattr(getattr(error, "response", None), "status_code", None)
    unreached = isinstance(error, (errors.OfflineModeIsEnabled, httpx.TransportError, TimeoutError))
    return unreached or (status is not None and status >= 500) or status == 429


def explain(what: str, error: Exception, remedy: str) -> UserError:
    """The line for an error of the Hub's client."""
    from huggingface_hub import errors

    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, errors.GatedRepoError):
        return UserError(f"{what}: access is gated; ask for it on the model's page and log in with `hf auth login`")
    if isinstance(error, errors.RevisionNotFoundError):
        return UserError(f"{what}: it has no such revision; name a branch, tag or commit that it has")
    if isinstance(error, errors.LocalEntryNotFoundError | errors.OfflineModeIsEnabled):
        return UserError(
            f"{what}: it is not in the cache, and the Hub is out of reach or not to be asked; {remedy}, or go online"
        )
    if isinstance(error, errors.EntryNotFoundError):
        return UserError(f"{what}: it has no such file; look for its name on the model's page")
    if isinstance(error, errors.RepositoryNotFoundError) or status == 404:
        return UserError(f"{what}: there is no such model, or it is private; {remedy}, or log in with `hf auth login`")
    if status in (401, 403):
        return UserError(f"{what}: status {status}, not allowed; pass a token that may, or log in with `hf auth login`")
    if status is not None:
        return UserError(f"{what}: it answers with status {status}; {remedy}, or try again")
    if is_out_of_reach(error):
        return UserError(f"{what}: it is out of reach ({first_line(error)}); {remedy}, or try again")
    if isinstance(error, JSONDecodeError):
        return UserError(f"{what}: the answer is not the Hub's; log in to the network if it asks for it, and try again")
    return UserError(f"{what}: {first_line(error)}; try again, or download it by hand and give its folder")
