"""Babel locales by the names that users write."""

import functools

from attention_jax.errors import unknown_name


def parse_locale(field: str, name: str) -> str:
    """The identifier of the Babel locale that a user's "zh" or "pt-BR" means.

    Raises:
      UnknownNameError: Babel has no such locale; names `field` and the nearest match.
    """
    from babel import Locale, UnknownLocaleError, localedata

    try:
        return str(Locale.parse(name.replace("-", "_")))
    except (UnknownLocaleError, ValueError, TypeError):
        known = localedata.locale_identifiers()
        error = unknown_name(f"{field} (a Babel locale)", name, sorted(known, key=len))
        message = str(error).split(" Known:")[0]
        raise type(error)(
            f"{message} Babel has {len(known)}: zh, en, pt_BR, ..."
        ) from None


@functools.cache
def load_locale(name: str):
    from babel import Locale

    return Locale.parse(name)
