"""The searches that a configuration can name."""

from collections.abc import Callable, Collection
from typing import NamedTuple

import jax
import jax.numpy as jnp

from attention_jax.config import DecodingConfig, ModelConfig, check_fields
from attention_jax.decoding.autoregressive import Sampling, search
from attention_jax.decoding.base import Decoded, Request, integer
from attention_jax.decoding.beam import Ranking, beam_search
from attention_jax.decoding.penalties import coverage_penalties, length_penalties
from attention_jax.errors import UserError, named
from attention_jax.functions.registry import Registry
from attention_jax.models.attention_wiring import attends
from attention_jax.models.base import Model, Params


class Search(NamedTuple):
    """One way to search for translations.

    Attributes:
      decode: (model, params, request, config) -> Decoded [B, N].
      most: the largest N that a configuration gives, and how many hypotheses of a sentence
        are held at a time; None if there is no largest, and N are held.
      fields: of the configuration that are about this search alone.
    """

    decode: Callable[[Model, Params, Request, DecodingConfig], Decoded]
    most: Callable[[DecodingConfig], int | None]
    fields: tuple[str, ...] = ()


searches = Registry[Search]("search")


def register_search(name: str, entry: Search) -> Search:
    """Registers a search under `name`, which `config.decoding.search` then takes."""
    return searches.register(name, entry, function=entry.decode)


def greedy(
    model: Model, params: Params, request: Request, config: DecodingConfig
) -> Decoded:
    """The likeliest token at every step."""
    del config
    decoded = search(model, params, request)
    return jax.tree.map(lambda leaf: leaf[:, None], decoded)


def beam(
    model: Model, params: Params, request: Request, config: DecodingConfig
) -> Decoded:
    """The `beam_size` likeliest hypotheses at every step."""
    ranking = Ranking(
        config.length_penalty,
        config.length_alpha,
        config.coverage_penalty,
        config.coverage_beta,
    )
    return beam_search(model, params, request, config.beam_size, ranking)


def sample(
    model: Model, params: Params, request: Request, config: DecodingConfig
) -> Decoded:
    """N drawn translations: draw n has the key fold_in(key(seed), n)."""
    key = jax.random.key(config.sample_seed)
    sampling = Sampling(config.temperature, config.top_k, config.top_p)
    drawn = [
        search(model, params, request, jax.random.fold_in(key, number), sampling)
        for number in range(request.n_best)
    ]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves, axis=1), *drawn)


register_search("greedy", Search(greedy, most=lambda config: 1))
register_search(
    "beam",
    Search(
        beam,
        lambda config: config.beam_size,
        (
            "beam_size",
            "length_penalty",
            "length_alpha",
            "coverage_penalty",
            "coverage_beta",
        ),
    ),
)
register_search(
    "sample",
    Search(
        sample, lambda config: None, ("temperature", "top_k", "top_p", "sample_seed")
    ),
)


def describe(config: DecodingConfig) -> str:
    """`beam, beam_size 5, length_penalty gnmt`: the search, its size and what is set."""
    text, default = config.search, DecodingConfig()
    for number, name in enumerate(searches.get(config.search).fields):
        value = getattr(config, name)
        if number == 0 or value != getattr(default, name):
            text += f", {name} {value}"
    return text


def check_config(config: DecodingConfig, model: ModelConfig) -> None:
    """Returns if translations of such a model can be searched for as `config` says.

    Raises:
      UserError: a value of another type or out of its range, an unknown name, fields that
        disagree; names the field.
    """
    check_fields(config, "config.decoding")
    names = {
        "search": searches,
        "length_penalty": length_penalties,
        "coverage_penalty": coverage_penalties,
    }
    for field, registry in names.items():
        with named(f"config.decoding.{field}"):
            registry.get(getattr(config, field))
    if config.max_length_ratio == 0 and config.max_length_offset == 0:
        raise UserError(
            "config.decoding.max_length_ratio and config.decoding.max_length_offset "
            "must not both be 0: every output would be empty"
        )
    needing = {
        "coverage_penalty": config.coverage_penalty != "none",
        "replace_unknown": config.replace_unknown,
    }
    for field, needed in needing.items():
        if needed and not attends(model):
            raise UserError(
                f"config.decoding.{field} needs attention, but config.model.attention "
                f"is {model.attention}"
            )


def implied_search(fields: Collection[str], named: str | None) -> str | None:
    """The search that some of these fields are about; the named one if none is.

    A UserError names a field about another search than that, or than one before it.
    """
    found = named
    for name, entry in searches.entries.items():
        for field in [one for one in entry.fields if one in fields]:
            if found not in (None, name):
                raise UserError(
                    f"config.decoding.{field} is about search {name}, but the search is "
                    f"{found}"
                )
            found = name
    return found


def check_n_best(config: DecodingConfig, n_best: int) -> int:
    """`n_best` as Python's own integer; a UserError if the search gives fewer."""
    n_best = integer("n_best", n_best, least=-(2**31))
    most = searches.get(config.search).most(config)
    if n_best < 1 or (most is not None and n_best > most):
        limit = "" if most is None else f" and at most {most}"
        hint = "; beam and sample give more" if most == 1 else ""
        raise UserError(
            f"n_best must be at least 1{limit} with search {config.search}, "
            f"got {n_best}{hint}"
        )
    return n_best
